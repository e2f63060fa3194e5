"""Nets as BVLC Caffe reads them.

`known` says what BVLC has, `replace` writes layers of ours and of forks by BVLC's, `tidy` makes a net for deployment
small, `write` puts it together and proves that the outputs stay.
"""
