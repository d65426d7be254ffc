"""Measurements that anyone can repeat: each figure is a ratio against something run beside it in the same run."""
