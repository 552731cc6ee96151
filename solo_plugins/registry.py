# SPDX-License-Identifier: MIT
"""Registration of the plugin's methods in solo-learn's table."""

__all__ = ["register"]


def register() -> None:
    """Put this plugin's methods into ``solo.methods.METHODS``, in place, once.

    They are ``rectified_lpjepa`` and the baselines that solo-learn lacks: ``lejepa``, ``lpjepa``,
    ``ncl``, ``nvicreg`` and ``visreg``.

    From then on ``METHODS[cfg.method](cfg)`` builds every method of the installed solo-learn from
    main's configuration: the PyPI release's methods are bridged to it, and on both releases timm's
    models can be backbones.

    Raises:
        SoloLearnMissingError: if solo-learn is not installed.
        ValueError: if another class is registered under one of our names.

    Example:
        >>> import solo_plugins
        >>> solo_plugins.register()
        >>> from solo_plugins.framework import METHODS
        >>> METHODS["rectified_lpjepa"].__name__
        'RectifiedLpJEPA'
    """
    from solo_plugins.framework import METHODS, adapt_methods
    from solo_plugins.methods.lejepa import LeJEPA
    from solo_plugins.methods.lpjepa import LpJEPA
    from solo_plugins.methods.ncl import NCL
    from solo_plugins.methods.nvicreg import NVICReg
    from solo_plugins.methods.rectified_lpjepa.method import RectifiedLpJEPA
    from solo_plugins.methods.visreg import VISReg

    ours: dict[str, type] = {
        "rectified_lpjepa": RectifiedLpJEPA,
        "lejepa": LeJEPA,
        "lpjepa": LpJEPA,
        "ncl": NCL,
        "nvicreg": NVICReg,
        "visreg": VISReg,
    }
    for name, method in ours.items():
        owner = METHODS.get(name, method)
        if owner is not method:
            raise ValueError(
                f"Expected the name {name!r} in solo-learn's METHODS to be free or ours "
                f"({method.__module__}.{method.__qualname__}) but got "
                f"{owner.__module__}.{owner.__qualname__}."
            )
        METHODS[name] = method
    adapt_methods()
