# SPDX-License-Identifier: MIT
"""Methods that Rectified LpJEPA is compared with and solo-learn lacks."""
