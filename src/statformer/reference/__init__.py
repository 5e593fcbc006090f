"""Textbook algorithms, written to be read; the oracles of the tests."""

from __future__ import annotations
