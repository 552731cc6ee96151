# SPDX-License-Identifier: MIT
"""Settings of solo-learn's own methods and of the optimizers, by solo-learn main's names."""

__all__ = ["MEANINGS", "METHOD_KWARGS", "OPTIMIZER_KWARGS"]

from typing import Annotated, Any, TypeAlias

from pydantic import Field, create_model

from solo_plugins.args.kinds import (
    Block,
    Flag,
    Follows,
    Fraction,
    ListOf,
    NonNegative,
    NonNegativeInt,
    Positive,
    Rule,
    Weight,
    left,
)
from solo_plugins.args.kinds import Momentum as _Momentum
from solo_plugins.framework import release

_LEFT = left("solo-learn's")
# They stand in YAMLs of solo-learn's main branch, which does not read them.
_NOT_READ = left("not read")
_Width: TypeAlias = Annotated[int, Field(gt=0, le=10**6), Rule("a positive integer")]
_Temperature: TypeAlias = Annotated[Positive, Field(ge=1e-3), Rule("a number of at least 0.001")]
_Betas: TypeAlias = Annotated[
    list[_Momentum], Field(min_length=2, max_length=2), Rule("a list of two numbers below 1")
]


def _is_supervised(value: Any) -> bool:
    return isinstance(value, bool) and (not value or release() == "pypi")


_Supervised: TypeAlias = Annotated[
    Any, Follows(_is_supervised), Rule("false, or with solo-learn 1.0.2 true")
]


def _block(name: str, **settings: Any) -> type[Block]:
    """Make a block of settings that may all be left out, but for those that are not optional."""
    fields: dict[str, Any] = {
        key: kind if isinstance(kind, tuple) else (kind, _LEFT) for key, kind in settings.items()
    }
    return create_model(name, __base__=Block, **fields)


def _method(name: str, **settings: Any) -> type[Block]:
    return _block(name, proj_hidden_dim=(_Width, ...), proj_output_dim=(_Width, ...), **settings)


_PREDICTOR: dict[str, Any] = {"pred_hidden_dim": (_Width, ...)}
_SOFTMAX: dict[str, Any] = {"temperature": (_Temperature, ...)}
_QUEUE: dict[str, Any] = {"queue_size": _Width}
_VICREG: dict[str, Any] = {f"{term}_loss_weight": Weight for term in ("sim", "var", "cov")}

METHOD_KWARGS: dict[str, type[Block]] = {
    "all4one": _method("All4One", **_PREDICTOR, **_SOFTMAX, **_QUEUE),
    "barlow_twins": _method("BarlowTwins", lamb=Weight, scale_loss=Weight),
    "byol": _method("BYOL", **_PREDICTOR),
    "deepclusterv2": _method(
        "DeepClusterV2",
        temperature=_Temperature,
        num_prototypes=ListOf[_Width],
        kmeans_iters=Annotated[int, Field(gt=0, le=10**4), Rule("a positive integer")],
    ),
    "dino": _method(
        "DINO",
        num_prototypes=(_Width, ...),
        clip_grad=NonNegative,
        freeze_last_layer=NonNegativeInt,
        norm_last_layer=Flag,
        use_bn_in_head=Flag,
        student_temperature=_Temperature,
        teacher_temperature=_Temperature,
        warmup_teacher_temperature=_Temperature,
        warmup_teacher_temperature_epochs=NonNegativeInt,
    ),
    "mae": _block(
        "MAE",
        decoder_embed_dim=(_Width, ...),
        decoder_depth=(Annotated[int, Field(gt=0, le=1000), Rule("a positive integer")], ...),
        decoder_num_heads=(Annotated[int, Field(gt=0, le=1000), Rule("a positive integer")], ...),
        mask_ratio=Annotated[float, Field(gt=0, lt=1), Rule("a number between 0 and 1")],
        norm_pix_loss=Flag,
    ),
    "mocov2plus": _method("MoCoV2Plus", **_SOFTMAX, **_QUEUE),
    "mocov3": _method("MoCoV3", **_PREDICTOR, **_SOFTMAX),
    "nnbyol": _method("NNBYOL", **_PREDICTOR, **_QUEUE),
    "nnclr": _method("NNCLR", **_PREDICTOR, **_SOFTMAX, **_QUEUE),
    "nnsiam": _method("NNSiam", **_PREDICTOR, **_QUEUE),
    "ressl": _method(
        "ReSSL",
        temperature_q=(_Temperature, ...),
        temperature_k=(_Temperature, ...),
        **_QUEUE,
        base_tau_momentum=(Fraction, _NOT_READ),
        final_tau_momentum=(Fraction, _NOT_READ),
        momentum_classifier=(Any, _NOT_READ),
    ),
    "simclr": _method("SimCLR", **_SOFTMAX, supervised=_Supervised),
    "simsiam": _method("SimSiam", **_PREDICTOR, temperature=(_Temperature, _NOT_READ)),
    "supcon": _method("SupCon", **_SOFTMAX),
    "swav": _method(
        "SwAV",
        **_SOFTMAX,
        **_QUEUE,
        num_prototypes=_Width,
        sk_epsilon=_Temperature,
        sk_iters=Annotated[int, Field(gt=0, le=1000), Rule("a positive integer")],
        freeze_prototypes_epochs=NonNegativeInt,
        epoch_queue_starts=NonNegativeInt,
    ),
    "vibcreg": _method("VIbCReg", **_VICREG, iternorm=Flag),
    "vicreg": _method("VICReg", **_VICREG),
    "wmse": _method(
        "WMSE",
        whitening_iters=Annotated[int, Field(gt=0, le=1000), Rule("a positive integer")],
        whitening_size=_Width,
        whitening_eps=Fraction,
    ),
}
_ADAM: dict[str, Any] = {"betas": _Betas, "eps": Positive, "amsgrad": Flag}
OPTIMIZER_KWARGS: dict[str, type[Block]] = {
    "sgd": _block("SGD", momentum=_Momentum, dampening=Fraction, nesterov=Flag),
    "lars": _block(
        "LARS",
        momentum=_Momentum,
        dampening=Fraction,
        nesterov=Flag,
        eta=Positive,
        eps=Positive,
        clip_lr=Flag,
        exclude_bias_n_norm=Flag,
    ),
    "adam": _block("Adam", **_ADAM),
    "adamw": _block("AdamW", **_ADAM),
}
MEANINGS = {
    "amsgrad": "keep the largest second moment",
    "base_tau_momentum": "`momentum.base_tau` is read",
    "betas": "decay of the moments",
    "clip_grad": "largest norm of a weight's gradient; 0 is off",
    "clip_lr": "no layer's rate above that of the optimizer",
    "cov_loss_weight": "weight of the covariance term",
    "dampening": "of the momentum",
    "decoder_depth": "the decoder's blocks",
    "decoder_embed_dim": "the decoder's width",
    "decoder_num_heads": "the decoder's heads",
    "epoch_queue_starts": "epoch from which the queue is used",
    "eps": "added to denominators",
    "eta": "the rate that a layer's norms give is times this",
    "exclude_bias_n_norm": "no adaptation and decay of biases and norms",
    "final_tau_momentum": "`momentum.final_tau` is read",
    "freeze_last_layer": "epochs in which the head's last layer stands still",
    "freeze_prototypes_epochs": "epochs in which prototypes stand still",
    "iternorm": "whiten by iterations",
    "kmeans_iters": "iterations of k-means",
    "lamb": "weight of the off-diagonal terms",
    "mask_ratio": "part of the patches that is hidden",
    "momentum": "momentum of the gradient",
    "momentum_classifier": "`momentum.classifier` is read",
    "nesterov": "Nesterov's form of it",
    "norm_last_layer": "unit rows of the head's last layer",
    "norm_pix_loss": "normalise each patch's pixels in the loss",
    "num_prototypes": "prototypes; several numbers are several sets",
    "pred_hidden_dim": "width of the predictor's hidden layer",
    "proj_hidden_dim": "width of the projector's hidden layer",
    "proj_output_dim": "the projector's outputs",
    "queue_size": "features of earlier steps that are kept",
    "scale_loss": "factor of the loss",
    "sim_loss_weight": "weight of the distance between views",
    "sk_epsilon": "Sinkhorn-Knopp's regularisation",
    "sk_iters": "Sinkhorn-Knopp's iterations",
    "student_temperature": "of the student's softmax",
    "teacher_temperature": "of the teacher's softmax",
    "supervised": "images of a class attract each other; main has `method: supcon` for it",
    "temperature": "of the softmax over similarities",
    "temperature_k": "of the momentum network's softmax",
    "temperature_q": "of the network's softmax",
    "use_bn_in_head": "batch normalisation in the head",
    "var_loss_weight": "weight of the variance term",
    "warmup_teacher_temperature": "the teacher's first temperature",
    "warmup_teacher_temperature_epochs": "epochs to the last one",
    "whitening_eps": "added to the covariance",
    "whitening_iters": "times that a batch is whitened",
    "whitening_size": "samples that are whitened together",
}
