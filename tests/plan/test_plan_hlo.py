"""The text of a compiled program: loops counted, groups of devices named, bytes and operations added up."""

import pytest

from flan_jax.plan.collectives import collectives
from flan_jax.plan.compiled_operations import compiled_operations
from flan_jax.plan.hlo import HloProgram, shape_bytes, shape_dims
from flan_jax.plan.memory_traffic import memory_traffic
from flan_jax.plan.replica_groups import axes_of, groups

MESH = {"data": 2, "fsdp": 2, "tensor": 2}

# A loop of 5 over a product and a gather of a sliced layer, as XLA prints it; the bound is noted on GPUs and CPUs only.
LOOP = """HloModule jit_step, is_scheduled=true, num_partitions=8

%slice_of_layer (stack: f32[5,64,32], index: s32[]) -> f32[64,32] {
  %stack = f32[5,64,32]{2,1,0} parameter(0)
  %index = s32[] parameter(1)
  %zero = s32[] constant(0)
  %part = f32[1,64,32]{2,1,0} dynamic-slice(%stack, %index, %zero, %zero), dynamic_slice_sizes={1,64,32}
  ROOT %flat = f32[64,32]{1,0} bitcast(%part)
}

%body (carry: (s32[], f32[16,64], f32[5,64,32])) -> (s32[], f32[16,64], f32[5,64,32]) {
  %carry = (s32[], f32[16,64]{1,0}, f32[5,64,32]{2,1,0}) parameter(0)
  %i = s32[] get-tuple-element(%carry), index=0
  %x = f32[16,64]{1,0} get-tuple-element(%carry), index=1
  %stack = f32[5,64,32]{2,1,0} get-tuple-element(%carry), index=2
  %layer = f32[64,32]{1,0} fusion(%stack, %i), kind=kLoop, calls=%slice_of_layer
  %whole = f32[64,64]{1,0} all-gather(%layer), channel_id=1, replica_groups=GROUPS, dimensions={1}, use_global_device_ids=true
  %y = f32[16,64]{1,0} dot(%x, %whole), lhs_contracting_dims={1}, rhs_contracting_dims={0}
  ROOT %next = (s32[], f32[16,64]{1,0}, f32[5,64,32]{2,1,0}) tuple(%i, %y, %stack)
}

%condition (carry: (s32[], f32[16,64], f32[5,64,32])) -> pred[] {
  %carry = (s32[], f32[16,64]{1,0}, f32[5,64,32]{2,1,0}) parameter(0)
  %i = s32[] get-tuple-element(%carry), index=0
  %bound = s32[] constant(5)
  ROOT %less = pred[] compare(%i, %bound), direction=LT
}

%add (a: f32[], b: f32[]) -> f32[] {
  %a = f32[] parameter(0)
  %b = f32[] parameter(1)
  ROOT %sum = f32[] add(%a, %b)
}

ENTRY %main (x: f32[16,64], stack: f32[5,64,32]) -> f32[4,64] {
  %x = f32[16,64]{1,0} parameter(0)
  %stack = f32[5,64,32]{2,1,0} parameter(1)
  %zero = s32[] constant(0)
  %start = (s32[], f32[16,64]{1,0}, f32[5,64,32]{2,1,0}) tuple(%zero, %x, %stack)
  %loop = (s32[], f32[16,64]{1,0}, f32[5,64,32]{2,1,0}) while(%start), condition=%condition, body=%bodyKNOWN
  %y = f32[16,64]{1,0} get-tuple-element(%loop), index=1
  %begun = ((f32[16,64]{1,0}), f32[4,64]{1,0}) reduce-scatter-start(%y), channel_id=2, replica_groups={{0,1,2,3},{4,5,6,7}}, dimensions={0}, to_apply=%add
  ROOT %done = f32[4,64]{1,0} reduce-scatter-done(%begun)
}
"""


def loop(groups: str = "[4,2]<=[8]", known: str = "") -> HloProgram:
    return HloProgram.parse(LOOP.replace("GROUPS", groups).replace("KNOWN", known))


def test_a_loop_counts_as_often_as_it_runs() -> None:
    assert loop().counts()["body"] == 5  # by what its condition compares with
    noted = loop(known=', backend_config={"known_trip_count":{"n":"7"}}')
    assert noted.counts()["body"] == 7


def test_collectives_have_their_axes_runs_and_bytes() -> None:
    found = {each.kind: each for each in collectives(loop(), MESH)}
    gather, scatter = found["all-gather"], found["reduce-scatter"]
    assert (gather.axes, gather.instructions, gather.runs) == ("tensor", 1, 5)
    assert gather.bytes == 5 * 64 * 64 * 4
    assert gather.wire_bytes == gather.bytes // 2  # of two halves a device sends its own
    # Behind "-start" stands the operand beside the result; a reduction's bytes are those of the operand.
    assert (scatter.axes, scatter.bytes, scatter.wire_bytes) == ("fsdp+tensor", 16 * 64 * 4, 3 * 16 * 64)


def test_a_group_of_one_device_moves_nothing() -> None:
    assert [each.kind for each in collectives(loop("[8,1]<=[8]"), MESH)] == ["reduce-scatter"]


def test_operations_and_bytes_of_a_loop() -> None:
    assert compiled_operations(loop()) == 5 * 2 * 16 * 64 * 64
    layer, whole, x = 64 * 32 * 4, 64 * 64 * 4, 16 * 64 * 4
    # Of the stack a turn reads its layer; the product and the gather read and write all that is theirs.
    turn = (layer + layer + 4) + (layer + whole) + (x + whole + x) + 9  # and a comparison
    # What is begun holds operand and result.
    assert memory_traffic(loop()) == 5 * turn + (x + x // 4)


@pytest.mark.parametrize(
    ("text", "axes"),
    [
        ("replica_groups={{0,4},{1,5},{2,6},{3,7}}", "data"),
        ("replica_groups=[4,2]<=[2,2,2]T(0,2,1)", "fsdp"),
        ("replica_groups=[4,2]<=[8]", "tensor"),
        ("replica_groups=[2,4]<=[4,2]T(1,0)", "data+fsdp"),
        ("replica_groups=mesh['a'=4,'b'=2] {'a'}, use_global_device_ids=true", "data+fsdp"),
        ("replica_groups=mesh['a'=8] {'a':(2)2}, dimensions={0}", "fsdp"),
        ("replica_groups=mesh['a'=2,'b'=4], device_ids=([2,2,2]T(1,0,2)) {'a'}, x", "fsdp"),
        ("source_target_pairs={{0,1},{1,0},{2,3},{3,2}}", "tensor"),
        ("dimensions={0}", "data+fsdp+tensor"),
        ("replica_groups=of_another_form", "?"),
    ],
)
def test_groups_name_their_axes(text: str, axes: str) -> None:
    assert axes_of(groups(text, 8), MESH) == axes


def test_shapes_with_layouts_and_tuples() -> None:
    text = "(bf16[8,128]{1,0:T(8,128)(2,1)S(1)}, /*index=1*/f32[], s4[6]{0}, token[])"
    assert shape_bytes(text) == [2048, 4, 3]
    assert shape_dims(text) == [8, 128]


def test_a_product_that_is_written_as_a_convolution() -> None:
    # A batch of 4 products [8, 16] x [16, 32]: the window has one place for each batch.
    text = """ENTRY %main (a: f32[4,8,16], b: f32[4,16,32]) -> f32[4,8,32] {
  %a = f32[4,8,16]{2,1,0} parameter(0)
  %b = f32[4,16,32]{2,1,0} parameter(1)
  ROOT %c = f32[4,8,32]{2,1,0} convolution(%a, %b), window={size=4 stride=3 pad=0_0 lhs_dilate=4}, dim_labels=0bf_0io->0bf
}
"""
    assert compiled_operations(HloProgram.parse(text)) == 2 * 4 * 8 * 16 * 32


@pytest.mark.parametrize(
    ("backward", "mask", "products"), [("", "CAUSAL", 1), ("", "NO_MASK", 2), ("Backward", "CAUSAL", 2.5)]
)
@pytest.mark.parametrize("space", ["", " "])
def test_attention_of_cudnn_has_two_products_and_five_backward(
    backward: str, mask: str, products: float, space: str
) -> None:
    text = f"""HloModule attention

ENTRY %main (q: bf16[3,256,8,64], k: bf16[3,128,2,64]) -> (bf16[3,8,256,64], u8[0]) {{
  %q = bf16[3,256,8,64]{{3,2,1,0}} parameter(0)
  %k = bf16[3,128,2,64]{{3,2,1,0}} parameter(1)
  ROOT %mixed = (bf16[3,8,256,64]{{3,1,2,0}}, u8[0]{{0}}) custom-call(%q, %k, %k), custom_call_target="__cudnn$fmhaScaleBiasSoftmax{backward}", backend_config={{"cudnn_fmha_backend_config":{space}{{"fmha_scale":{space}0.125,"intermediate_tensor_shape":{space}{{"element_type":{space}"BF16","dimensions":{space}["3","8","256","128"],"layout":{space}{{"minor_to_major":{space}["3"]}}}},"mask_type":{space}"{mask}","bmm1_dot_dimension_numbers":{space}{{"lhs_contracting_dimensions":{space}["3"]}}}}}}
}}
"""
    assert compiled_operations(HloProgram.parse(text)) == 2 * products * 3 * 8 * 256 * 128 * 64


def test_a_text_that_is_no_program() -> None:
    with pytest.raises(ValueError, match="no ENTRY"):
        HloProgram.parse("HloModule nothing")
