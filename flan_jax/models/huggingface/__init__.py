"""Import and export of models in the format of Hugging Face transformers: ``config.json`` and safetensors weights.

``t5`` and ``decoders`` know the families, ``tensors`` moves values by their tables of names, ``folder`` reads and
``writer`` writes. Only safetensors files are read: other formats can run code when they are opened.
"""
