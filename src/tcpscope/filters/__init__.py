"""The filter language: the whole expression grammar of ``ss`` plus own predicates; pure.

``parse`` turns words into an expression (``expression``), ``match`` turns an expression into a predicate over the
words of the model. What of it the kernel can do is :mod:`tcpscope.kernel.diag_bytecode`'s business.
"""
