"""``python -m adamae COMMAND``, for torchrun, deepspeed and srun; equivalent to ``adamae COMMAND``."""

import sys

from adamae.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
