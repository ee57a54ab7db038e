"""Auditing of datasets: what their files hold, their near duplicates, and pictures of them."""
