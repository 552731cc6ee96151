# SPDX-License-Identifier: MIT
"""What tensors the maths take; knows torch alone."""

__all__ = ["check_one_argument", "check_real", "check_samples", "check_tensor"]

from solo_plugins.inputs.tensors import (
    check_one_argument,
    check_real,
    check_samples,
    check_tensor,
)
