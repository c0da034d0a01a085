"""Encoding workers on other machines, found and reached through Dask."""
