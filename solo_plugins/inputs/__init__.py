# SPDX-License-Identifier: MIT
"""What tensors the maths take; knows torch alone."""

__all__ = ["check_real", "check_samples", "check_tensor"]

from solo_plugins.inputs.tensors import check_real, check_samples, check_tensor
