.PHONY: install format lint test-fast test faults docs roofline

install:
	bash scripts/install.sh

format: install
	.venv/bin/ruff format --quiet .
	.venv/bin/ruff check --fix --quiet .

lint: install
	bash scripts/lint.sh

test-fast:
	bash scripts/test.sh --fast

test:
	bash scripts/test.sh

faults: install
	.venv/bin/python -m tests.faults --results build/faults/results.jsonl --write

docs: install
	.venv/bin/python scripts/option_tables.py PRETRAIN.md FINETUNE.md

roofline: install
	OMP_NUM_THREADS=1 .venv/bin/python scripts/benchmarks/roofline.py
