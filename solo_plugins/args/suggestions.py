# SPDX-License-Identifier: MIT
"""What a person may have meant by a setting that does not exist."""

__all__ = ["SYNONYMS", "suggestion"]

import difflib
from collections.abc import Sequence

# Other names that people, papers and other libraries have for settings.
SYNONYMS: dict[str, tuple[str, ...]] = {
    "active_fraction": ("method_kwargs.target_active_fraction",),
    "amp": ("precision",),
    "arch": ("backbone.name",),
    "architecture": ("backbone.name",),
    "augs": ("augmentations",),
    "base_lr": ("optimizer.lr",),
    "base_tau_momentum": ("momentum.base_tau",),
    "bs": ("optimizer.batch_size",),
    "ckpt_dir": ("checkpoint.dir",),
    "data_path": ("data.train_path",),
    "dim": ("method_kwargs.proj_output_dim",),
    "encoder": ("backbone.name",),
    "epochs": ("max_epochs",),
    "final_tau_momentum": ("momentum.final_tau",),
    "gpus": ("devices",),
    "hidden_dim": ("method_kwargs.proj_hidden_dim",),
    "image_size": ("augmentations[0].crop_size",),
    "img_size": ("augmentations[0].crop_size",),
    "inv_weight": ("method_kwargs.invariance_loss_weight",),
    "learning_rate": ("optimizer.lr",),
    "loc": ("method_kwargs.mean_shift_value",),
    "loss_weight": ("method_kwargs.rdm_reg_loss_weight",),
    "lp": ("method_kwargs.lp_norm_parameter",),
    "model": ("backbone.name",),
    "momentum_classifier": ("momentum.classifier",),
    "mu": ("method_kwargs.mean_shift_value",),
    "n_epochs": ("max_epochs",),
    "neighbors": ("knn_eval.k", "k"),
    "num_epochs": ("max_epochs",),
    "num_gpus": ("devices",),
    "num_views": ("augmentations[0].num_crops",),
    "out_dim": ("method_kwargs.proj_output_dim",),
    "output_dim": ("method_kwargs.proj_output_dim",),
    "output_dir": ("checkpoint.dir",),
    "p": ("method_kwargs.lp_norm_parameter",),
    "pretrained": ("pretrained_feature_extractor",),
    "projections": ("method_kwargs.num_projections",),
    "projector": ("method_kwargs.projector_type", "features"),
    "resume": ("resume_from_checkpoint",),
    "run": ("pretrained_feature_extractor",),
    "save_dir": ("checkpoint.dir",),
    "shots": ("data.shots",),
    "sigma": ("method_kwargs.mode_of_sigma",),
    "sparsity": ("method_kwargs.target_active_fraction",),
    "steps": ("max_steps",),
    "t": ("temperature", "method_kwargs.temperature"),
    "target": ("method_kwargs.target_distribution",),
    "target_l0": ("method_kwargs.target_active_fraction",),
    "tau": ("momentum.base_tau",),
    "views": ("augmentations[0].num_crops",),
    "warmup": ("scheduler.warmup_epochs",),
    "wd": ("optimizer.weight_decay",),
    "workers": ("data.num_workers",),
}
_FEW = 12
_MOST = 3


def suggestion(
    key: Sequence[str], siblings: Sequence[str], every: Sequence[str], prefix: Sequence[str | int]
) -> str:
    """Say which setting is meant: a synonym, the same name in another block, the nearest name.

    Args:
        key: the name that was given, at full depth.
        siblings: the names of its block.
        every: the names of all settings, dotted.
        prefix: the block that all of these stand in.

    Returns:
        A sentence with a leading space, to be put behind an error's text.

    Example:
        >>> known = ["max_epochs", "optimizer", "optimizer.lr", "optimizer.batch_size"]
        >>> suggestion(["epochs"], ["max_epochs", "optimizer"], known, ())
        ' Did you mean `max_epochs`?'
        >>> suggestion(["batch_size"], ["max_epochs", "optimizer"], known, ())
        ' Did you mean `optimizer.batch_size`?'
    """
    name, before = key[-1].lower(), "".join(f"{part}." for part in prefix)
    full = [f"{before}{one}" for one in every]
    by_lower = {one.lower(): one for one in siblings}
    if name in by_lower:
        return _meant([by_lower[name]])
    found = [one for one in SYNONYMS.get(name, ()) if one in full]
    found = found or [one for one in full if one.rpartition(".")[2].lower() == name]
    if found:
        return _meant(found[:_MOST])
    near = difflib.get_close_matches(name, by_lower, n=1, cutoff=0.6)
    if near:
        return _meant([by_lower[near[0]]])
    last = {one.rpartition(".")[2].lower(): one for one in full}
    near = difflib.get_close_matches(name, last, n=1, cutoff=0.75)
    if near:
        return _meant([last[near[0]]])
    if 0 < len(siblings) <= _FEW:
        return f" Known: {', '.join(siblings)}."
    return " docs/configuration.md lists all of them."


def _meant(names: Sequence[str]) -> str:
    return f" Did you mean {' or '.join(f'`{name}`' for name in names)}?"
