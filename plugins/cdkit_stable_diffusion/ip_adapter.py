"""The names in a published IP-Adapter (`ip_adapter.1.to_k_ip.weight`), as those of `decoupled`'s taps.

A published file numbers the attentions of Stable Diffusion's U-Net in the order of diffusers' `attn_processors`: down, up,
and the middle last; self-attentions count too, so that words and image meet at the odd numbers. Its other half, `image_proj`,
is named as the `image` encoder names its own: there is nothing to translate.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

PROJECTION = "image_proj."
SITE = re.compile(r"backbone\.(.+)\.taps\.\w+\.to_k_ip\.weight")
ORDER = ("down", "up", "mid")
PARAMETERS = ("to_k_ip.weight", "to_v_ip.weight")


def names(keys: Collection[str], own: Sequence[str]) -> dict[str, str] | None:
    """A file's keys -> the names of a model's tensors, of which `own` are all, in order. None if it is no IP-Adapter."""
    if not any(key.startswith("ip_adapter.") for key in keys):
        return None
    sites = {found[1]: name.removesuffix("to_k_ip.weight") for name in own if (found := SITE.fullmatch(name))}
    numbered = {key: sites[site] + parameter for key, (site, parameter) in published(list(sites)).items()}
    projections = {PROJECTION + name.partition(f".{PROJECTION}")[2]: name for name in own if f".{PROJECTION}" in name}
    known = numbered | projections
    return {key: known[key] for key in keys if key in known}


def published(sites: Sequence[str]) -> dict[str, tuple[str, str]]:
    """`attend` sites of `unet`, in the network's own order -> by published key, the site and the parameter of its tap.

    ValueError for a site that is in none of a U-Net's three parts: an IP-Adapter has no number for it.
    """
    strange = [site for site in sites if _part(site) not in ORDER]
    if strange:
        raise ValueError(f"{strange[0]!r} is no site of Stable Diffusion's U-Net; expected down.…, mid.… or up.…")
    ordered = sorted(sites, key=lambda site: ORDER.index(_part(site)))  # stable: each part keeps its order
    return {
        f"ip_adapter.{2 * number + 1}.{parameter}": (site, parameter)
        for number, site in enumerate(ordered)
        for parameter in PARAMETERS
    }


def _part(site: str) -> str:
    return site.split(".")[0]
