"""Genie's built-in plugins: a folder each, found through the entry points `genie.plugins`.

They import `genie_core` and never each other, so that any of them can be blocked or replaced.
"""
