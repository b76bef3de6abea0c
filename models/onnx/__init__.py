"""GPEN weights from ONNX graphs.

An ONNX file of a GPEN holds the published weights, but under names that the exporter invented, in layouts that it
chose, and multiplied by whatever constants it folded into them. What the graph *computes* is GPEN all the same. So the
weights are found by what they do: the graph becomes one term, and the term is matched against GPEN's structure.

::

    file.onnx --> wire --> graph --> interpretation ------------> generator, encoder --> weights
                  large    nodes     per node, in order:          pattern matching,      published keys,
                  values   and       + constants: folding         from the output        GPENConfig
                  stay     constants + moves: layout              image backwards
                  mapped             + the rest: operators,
                                       convolution
                           +--> recognition: sizes and names, where the graph is not understood

1. `wire` copies all but the large values into a small message, which the `onnx` package parses (`graph`). Large values
   stay views of the mapped file: parsing them would copy 285 MB twice.
2. `interpretation` walks through the nodes that the output depends on. A node whose inputs are constants is folded by
   the package's reference evaluator (`folding`): operators from a list, the output's size from shape inference first,
   all of them within a budget of about twice the file. Any other node becomes a term (`terms`).
3. A *term* says what a value is without saying how it lies in memory. Its axes have identity; a *value* is a factor
   times a term, whose axes are grouped into dimensions::

       Reshape  [1,64,8,8] -> [64,8,8]      same term, other groups         (`layout`)
       Mul      by 0.7071                  same term, factor × 0.7071      (`operators`)
       Mul      by a vector per channel    Times(x, vector, axis)
       Conv     of a Times                 Conv(x, weight, ins=(vector,))  (`convolution`)
       Pad, Reshape, Conv [1,1,4,4]        Fir(x, up, pads, kernel)

   So the spellings of one computation end as the same term: modulated weights or modulated activations, channels last
   or first, zeros between pixels or transposed convolutions, a factor here or there.
4. `generator` and `encoder` match the term. A level of the generator, from its activation backwards::

       LeakyRelu(0.2)
         + Sum  + bias -------------------------------------> convs.i.activate.bias
             + Concat
                 + Fir(kernel) ------------------------------> convs.i.conv.blur.kernel
                 |   + Conv(weight) -------------------------> convs.i.conv.weight
                 |       + ins:  Linear(style) --------------> convs.i.conv.modulation
                 |       + outs: Power(-0.5) of the sum of squared weight · ins: the demodulation, checked
                 |       + x:    the LeakyRelu of the level below
                 + w × LeakyRelu of the encoder -------------> convs.i.noise.weight

   The factors met on the way from one activation to the next are multiplied, and divided by what GPEN has there (equal
   learning rates, sqrt(2) behind activations, gains of blurs): the rest belongs to the weight.

Every rule is exact or refuses with the node's name. A graph that is refused (`GraphNotUnderstoodError`) is run by ONNX
Runtime; a file that is damaged, or asks for more than a GPEN needs, is not (`ModelFileError`): functions, control flow,
external data, more than 10,000 nodes, constants beyond the budget.
"""
