"""The version of cdkit."""

VERSION = "0.1.0"
