# SPDX-License-Identifier: MIT
"""Train a linear classifier on a pretrained network, e.g.

python main_linear.py --config-path scripts/linear/cifar/ \
    --config-name=rectified_lpjepa.yaml \
    ++pretrained_feature_extractor=trained_models/rectified_lpjepa/RUN
"""

import sys

import hydra
from omegaconf import DictConfig

from solo_plugins.args.interrupts import leaving_at_once
from solo_plugins.args.usage import arguments_for_hydra


@hydra.main(version_base="1.2")
def main(cfg: DictConfig) -> None:
    """Evaluate from hydra's configuration; a wrong one ends with one line and exit status 1."""
    # Not before: torch takes ten seconds, and help is to come at once.
    from solo_plugins.evaluation.linear import linear
    from solo_plugins.training.sweep import one_line_errors

    with one_line_errors():
        linear(cfg)


if __name__ == "__main__":
    with leaving_at_once():
        sys.argv[1:] = arguments_for_hydra(__file__, "linear")
        main()
