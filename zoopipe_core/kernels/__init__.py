"""Compiled columnar checks: NumPy arrays in, preallocated arrays out.

A kernel says for each cell "accept, with this value" or "not sure"; it never rejects. Whatever is not sure goes to
pydantic with its whole row. Kernels are generic over columns: nothing is compiled for a model. They know no Arrow and
no pydantic; `buffers` translates from and to Arrow, `zoopipe_core.schema` decides which kernel a field takes. Others
write the text of rows, or do the work of `zoopipe_core.functions`.
"""
