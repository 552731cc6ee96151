# SPDX-License-Identifier: MIT
"""Evaluation of pretrained networks: linear probe, fine-tuning and nearest neighbours."""
