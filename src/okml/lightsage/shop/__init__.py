"""A synthetic shop: settings, generator, and the truth that its log was drawn from."""

from okml.lightsage.shop.generator import LABEL, Shop, generate
from okml.lightsage.shop.settings import ShopSettings

__all__ = ["LABEL", "Shop", "ShopSettings", "generate"]
