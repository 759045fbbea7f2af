"""Prepared tasks on disk: one folder of Arrow files per task, split and fingerprint, local or remote."""
