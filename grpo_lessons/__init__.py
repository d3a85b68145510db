"""The library under the lessons on GRPO: rewards, problems, groups, runs, cards, plots, models, training.

Floors, imports point down only: text, runs, palette, device · rewards, problems, groups, exercises · plots, cards,
models, pocket · training · live. Torch and the libraries around it are imported when a training starts, not before.
"""
