# Two commands for everybody: `make demo` and `make test`. Both set themselves up.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO_DIR ?= demo
# Debian keeps venv apart from Python, and a bare system lacks the OpenMP runtime of the fast engine: root can fetch both
GET = [ "$$(id -u)" = 0 ] && apt-get update -qq && apt-get install -qq -y
# one thread in each of the test processes that run side by side
ONE_THREAD := OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1
# the hundreds of processes that tests start find modules compiled, also where the environment keeps Python from writing them
COMPILED := PYTHONDONTWRITEBYTECODE=

CHECKS := types types-win32 types-darwin

PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: demo pictures test test-lowest test-peers test-zoo test-architectures test-kills coverage lint $(CHECKS) proto clean setup gpu-check gpu-registers gpu-smoke fuzz zoo-nets zoo-accuracies export-table weights wheel wheels-table docs

# everything for working on Dragon; `make demo` installs only what it runs
setup: $(VENV)/ready

$(VENV)/ready: $(VENV)/runs
	@echo "Installing what the tests need into $(VENV): about 200 MB to fetch, 700 MB on disk with the rest"
	$(PIP) -e '.[test,lint]'
	@touch $@

$(VENV)/runs: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Dragon needs Python 3.11 or newer")'
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { $(GET) python3-venv; } || \
	  { echo "python3-venv is missing, and cannot be installed from here: apt-get install python3-venv"; exit 1; }
	@PATH="$$PATH:/sbin" ldconfig -p 2>/dev/null | grep -q libgomp.so.1 || { $(GET) libgomp1; } || \
	  echo "without the system library libgomp.so.1 (package libgomp1) nets run on the slower NumPy engine"
	$(PYTHON) -m venv $(VENV)
	@echo "Installing Dragon and what it runs on into $(VENV): about 80 MB to fetch, 210 MB on disk"
	$(PIP) -e .
	@cd $(VENV)/lib && ! cmp -s libdnnl.so.3.2 libdnnl.so || \
	  for name in libdnnl.so libdnnl.so.3; do ln -f libdnnl.so.3.2 $$name; done  # a wheel holds no links: 3 copies
	@du -sh $(VENV) | sed 's/\t/ in /'
	@touch $@

test: setup lint
	$(ONE_THREAD) $(COMPILED) $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist worksteal -q

# The tests with other programs, which are large: PyTorch, W&B, MLflow, linters. Without them they are left out of `make test`.
test-peers: setup
	$(PIP) -e '.[peers]'
	$(ONE_THREAD) $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist worksteal -q \
	  tests/export tests/importing tests/test_torch.py tests/tools/test_export_torch.py tests/docs/test_real_observers.py \
	  tests/test_recipes.py

# The tests with the oldest versions of packages that pyproject.toml allows, in an environment of their own; only the
# direct ones are old, so what warns in theirs is left out.
LOWEST := .venv-lowest
test-lowest: setup
	$(PIP) uv
	$(PYTHON) -m venv $(LOWEST)
	$(BIN)/uv pip install --quiet --python $(LOWEST)/bin/python --resolution lowest-direct -e '.[test]'
	$(ONE_THREAD) $(COMPILED) $(LOWEST)/bin/python -m pytest -n auto --maxprocesses 4 --dist worksteal -q -W ignore::DeprecationWarning

# The tests of large nets of the zoo, which `make test` leaves out: forward, backward, deployed, exported.
test-zoo: setup
	$(ONE_THREAD) $(BIN)/python -m pytest -m heavy -n auto --maxprocesses 2 --dist worksteal -q tests/models tests/export tests/importing

# CUDA kernels compiled for the other architectures of GPUs; `make test` compiles them for one.
test-architectures: setup
	$(ONE_THREAD) $(BIN)/python -m pytest -m heavy -n auto --maxprocesses 4 --dist worksteal -q tests/engines/cuda/test_compile.py

# the same tests, and which share of the lines they run
coverage: setup
	$(ONE_THREAD) $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist worksteal -q --cov --cov-report=term:skip-covered

# the type checker looks at the systems side by side: each has a cache of its own, and the first time takes long
lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	@$(MAKE) --no-print-directory --jobs 3 $(CHECKS)

types:
	$(BIN)/mypy

types-win32 types-darwin: types-%:
	$(BIN)/mypy --platform $* --cache-dir .mypy_cache/$* dragon

# The picture of README.md, from the report of the demo, which goes on where it stopped.
pictures: demo
	cp $(DEMO_DIR)/cifar10/picture.svg docs/pictures/demo.svg

demo: $(VENV)/runs
	$(BIN)/dragon demo --dir $(DEMO_DIR)

# The documents as a site, in build/site: reference made from the code, warnings as errors, every link checked. Open
# build/site/index.html; a server is not needed.
docs: setup
	$(PIP) -e '.[docs]'
	$(BIN)/python -m mkdocs build --strict
	$(ONE_THREAD) $(BIN)/python -m pytest -q tests/docs/test_site.py

# Damaged files for MINUTES of each kind (KINDS: all when empty); what goes wrong is kept in fuzz/.
fuzz: setup
	$(ONE_THREAD) $(BIN)/python -m tests.fuzz --minutes $(or $(MINUTES),10) $(KINDS)

# Every net of the zoo as ONNX, in ONNX Runtime and, where it is installed, OpenVINO: the table of docs/export.md.
# NETS="lenet resnet50" for some of them.
export-table: setup
	$(BIN)/python -m benchmarks.export --write docs/export.md $(if $(NETS),--net $(NETS))

# Kills ranks of a small training at random, KILLS times (100), and compares the weights at its end with an undisturbed one's.
test-kills: setup
	$(ONE_THREAD) $(BIN)/python -m tests.parallel.kills --kills $(or $(KILLS),100)

# The table of docs/zoo_nets.md: every net of the zoo against OpenCV 4, the last that reads Caffe's files.
zoo-nets: setup
	$(PIP) 'opencv-python-headless<5'
	$(ONE_THREAD) $(BIN)/python -m tests.models.page $(NETS)

# The table of docs/zoo.md: the weights that ship, over their test sets, in Dragon and in OpenCV 4. NETS="lenet" for some.
zoo-accuracies: setup
	for set in mnist mnist_lines mnist_scenes cifar10 shapes; do $(BIN)/dragon data $$set || exit; done
	$(PIP) 'opencv-python-headless<5'
	$(ONE_THREAD) $(BIN)/python -m tests.models.accuracies $(NETS)

# The weights that Dragon offers, trained again from the data: NAMES="lenet cifar10_quick", all when empty. They go to weights/.
weights: setup
	for set in mnist cifar10; do $(BIN)/dragon data $$set || exit; done
	$(BIN)/dragon zoo train $(NAMES)

# dist/: a wheel and the source, checked; the tests of packaging say what they hold.
wheel: setup
	rm -rf dist
	$(PIP) build twine
	$(BIN)/python -m build --quiet --outdir dist .
	$(BIN)/twine check --strict dist/*

# The table of docs/installing.md: which packages have wheels for which Python and system. It asks the package index.
wheels-table: setup
	$(PIP) packaging
	$(BIN)/python install/wheels.py --write docs/installing.md

# A minute on a machine with a GPU: a few training steps in each precision beside NumPy, each a CUDA graph.
gpu-smoke:
	$(PYTHON) -m benchmarks.smoke

# Registers and stack of the CUDA kernels of batch normalisation, or of FILES; no GPU is needed.
gpu-registers:
	$(PYTHON) -m benchmarks.gpu_registers $(FILES)

# On a machine with a GPU, from the checkout and with the packages that are there: tests on the card, then figures.
gpu-check:
	$(PYTHON) -m benchmarks.gpu --check --out $(or $(OUT),gpu-check)

# The generator is pinned: its output loads on every protobuf runtime from 6.31 to 7.x. It lives in an environment
# of its own, since it asks for an older runtime than the one we test with.
proto: .venv-proto/ready $(VENV)/ready
	.venv-proto/bin/python -m grpc_tools.protoc -Iproto --python_out=proto --pyi_out=proto proto/dragon.proto
	sed -i "s/'dragon_pb2'/'dragon.proto.dragon_pb2'/" proto/dragon_pb2.py  # where pickles look for the messages
	sed -i 's/\b_Mapping\]/_Mapping[str, object]]/g; s/\*\*kwargs)/**kwargs: object)/' proto/dragon_pb2.pyi  # for the type checker
	PYTHONPATH=. $(BIN)/python -m dragon.pycaffe.stubs  # the settings of layers, for editors and type checkers

.venv-proto/ready:
	$(PYTHON) -m venv .venv-proto
	.venv-proto/bin/python -m pip install --quiet --disable-pip-version-check grpcio-tools==1.75.1
	@touch $@

clean:
	rm -rf $(VENV) .coverage .venv-proto build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache
