# Dragon in an image: docker build -t dragon . && docker run --rm -v "$PWD:/work" dragon train --solver solver.prototxt
FROM python:3.13-slim
# hadolint ignore=DL3008
RUN apt-get update && apt-get install -y --no-install-recommends libgomp1 && rm -rf /var/lib/apt/lists/*
COPY . /src
RUN python -m pip install --no-cache-dir "/src[plot]" && rm -rf /src
WORKDIR /work
ENTRYPOINT ["dragon"]
CMD ["--help"]
