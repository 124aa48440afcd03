# The interpreter that environments are made with: make PYTHON=python3.12 demo
PYTHON ?= python3
FAST = not slow and not device
# What other Pythons run each time: every verb, the imports, and what leans on the standard library.
THIN = tests/cli/test_verbs.py tests/test_architecture.py tests/test_documents.py \
	tests/test_files.py tests/test_types.py tests/backends tests/datasets tests/device \
	tests/metrics tests/tensorrt tests/video
SOURCES = $(shell find edgeseg -type f -not -name '*.pyc')

.PHONY: demo test test-full lint bench clean
.NOTPARALLEL:

demo: .venv/.installed
	.venv/bin/edgeseg demo

test:
	.ci/at-once "$(MAKE) lint" ".ci/test-under 3.10 $(THIN)" ".ci/test-under 3.12 $(THIN)" \
		".ci/gpu-packages $(PYTHON)"
	EDGESEG_PYCUDA="$$(cat .pycuda/interpreter 2>/dev/null)" OMP_NUM_THREADS=1 .venv-test/bin/python -m pytest -q -n 2 --dist worksteal -m "$(FAST)"

test-full:
	.ci/at-once "$(MAKE) lint" ".ci/test-under 3.10" ".ci/test-under 3.12" ".ci/gpu-packages $(PYTHON)"
	EDGESEG_PYCUDA="$$(cat .pycuda/interpreter 2>/dev/null)" \
		.venv-test/bin/python -m pytest -q -m "not device"

lint: .venv-test/.installed
	.venv-test/bin/ruff check
	.venv-test/bin/ruff format --check
	.venv-test/bin/mypy

bench: .venv-test/.installed
	.venv-test/bin/python benchmarks/run.py

clean:
	rm -rf .venv .venv-test .venv-3.10 .venv-3.12 .pycuda .tensorrt-bindings build dist
	rm -rf .mypy_cache .pytest_cache .ruff_cache
	find edgeseg tests -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/.installed: pyproject.toml $(SOURCES)
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet '.[graph,ort,openvino,video]'
	touch $@

.venv-test/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv --clear .venv-test
	.venv-test/bin/python -m pip install --quiet -c constraints.txt torch
	.venv-test/bin/python -m pip install --quiet -c constraints.txt \
		-e '.[export,ort,openvino,video,graph,serve,tensorrt,cuda13,dev]'
	touch $@
