# SPDX-License-Identifier: MIT
"""What a pretrained network is worth: a linear probe, fine-tuning and nearest neighbours."""
