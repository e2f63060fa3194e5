"""Helpers of several commands: options, tables, progress, reports."""
