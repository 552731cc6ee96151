# SPDX-License-Identifier: MIT
"""Pretrain a self-supervised method, e.g.

python main_pretrain.py --config-path scripts/pretrain/cifar/ \
    --config-name=rectified_lpjepa_cifar100.yaml ++method_kwargs.mean_shift_value=-1.0

With -m and several values, as in ++method_kwargs.mean_shift_value=-2,-1,0, each is a run.
"""

import sys

import hydra
from omegaconf import DictConfig

from solo_plugins.args.interrupts import leaving_at_once
from solo_plugins.args.usage import arguments_for_hydra


@hydra.main(version_base="1.2")
def main(cfg: DictConfig) -> None:
    """Pretrain from hydra's configuration; a wrong one ends with one line and exit status 1."""
    # Not before: torch takes ten seconds, and help is to come at once.
    from solo_plugins.training.pretrain import pretrain
    from solo_plugins.training.sweep import one_line_errors

    with one_line_errors():
        pretrain(cfg)


if __name__ == "__main__":
    with leaving_at_once():
        sys.argv[1:] = arguments_for_hydra(__file__, "pretrain")
        main()
