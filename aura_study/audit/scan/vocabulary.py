"""What names of functions and variables tell the scan, in torch, TensorFlow and NumPy."""

import ast
import re


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


CONSTANTS = _words(
    "tensor zeros ones full empty float int len range arange eye constant max min new_zeros new_tensor zeros_like "
    "ones_like FloatTensor Tensor linspace sorted set"
)
SETTINGS = re.compile(
    r"^(args?|cfg|config|opt|opts|hparams|flags|hp|np|math|torch|tf|F|K|nn|jnp|self)$|^[A-Z][A-Z_0-9]+$"
)
HANDED = re.compile(r"_?loss(es)?(_list|_dict|_tensors)?")
"""What a constructor is handed that is no setting."""
MASK = re.compile(r"mask|valid|present|avail|flag|indicator|active", re.I)
MASKED = re.compile(r"(mask|valid|present|avail)\w*(\[[^]]*\])? \*|\* \(?(self\.)?(mask|valid|present|avail)")
"""A loss of which a mask leaves nothing where its task is absent."""
SUMS = _words("sum stack cat concat concatenate add_n reduce_sum fsum reduce_mean mean")
KEEPS = SUMS | _words(
    "squeeze unsqueeze view reshape to cuda cpu float double half list tuple dict values items get type type_as expand "
    "expand_as clone contiguous nansum nanmean zip enumerate reversed clamp clip abs relu maximum minimum where "
    "nan_to_num flatten item_ as_tensor convert_to_tensor cast keys pop copy prod identity"
)
FUNCTIONS = {
    name: done
    for done, names in {
        "exp": "exp exp_ sigmoid expm1",
        "log": "log log1p log_ logsumexp log2",
        "square": "pow square pow_",
        "over": "reciprocal rsqrt",
        "softplus": "softplus Softplus",
        "other": "sqrt tanh softmax norm elu",
    }.items()
    for name in names.split()
}
OPERATORS = {
    name: operator()
    for operator, names in {
        ast.Mult: "mul multiply mul_ dot matmul",
        ast.Div: "div divide true_divide div_ truediv",
        ast.Add: "add add_",
        ast.Sub: "sub subtract sub_",
    }.items()
    for name in names.split()
}
DETACHED = _words("item detach numpy tolist data shape device dtype stop_gradient grad")
