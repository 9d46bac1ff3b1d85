"""Envelope encryption of the secret records of a store, and where its master key comes from."""

from turnout_seal._envelope import Place, UnknownKey, Unsealable, is_sealed, key_of, rewrap, seal, unseal
from turnout_seal._folders import make_folders, state_folder
from turnout_seal._keys import Key, KeyRing, new_key
from turnout_seal._sealing import Sealing, open_sealing
from turnout_seal._settings import KeySettings
from turnout_seal._sources import KeyCommand, KeyFile, KeySource, KeyVariable
from turnout_seal._versions import Versions

__all__ = [
    "Key",
    "KeyCommand",
    "KeyFile",
    "KeyRing",
    "KeySettings",
    "KeySource",
    "KeyVariable",
    "Place",
    "Sealing",
    "UnknownKey",
    "Unsealable",
    "Versions",
    "is_sealed",
    "key_of",
    "make_folders",
    "new_key",
    "open_sealing",
    "rewrap",
    "seal",
    "state_folder",
    "unseal",
]
