"""What stands around the networks, as ONNX functions: from a film's pixels to views, and from answers back.

They do what :mod:`lungcls.regions`, :mod:`lungcls.tone`, :mod:`lungcls.segmenter`, :mod:`lungcls.quality` and
:mod:`lungcls.conformal` do in numpy, for places without Python, such as a browser. ONNX Script [1]_ turns the
bodies below into graphs; every argument is a tensor. ``tests/export/test_film_graphs.py`` compares
them.

References
----------
.. [1] ONNX Script: https://microsoft.github.io/onnxscript
"""

from __future__ import annotations

from onnxscript import opset18 as op
from onnxscript import script

FLOAT, UINT8, INT64, BOOL, DOUBLE = 1, 2, 7, 9, 11  # onnx.TensorProto's, which a body can only name by value


@script()
def sample(pixels):
    """As ``tone._sample``, in one dimension."""
    shape = op.Shape(pixels)
    step = op.Max(op.ReduceMin(shape) / 256, op.Constant(value_ints=[1]))
    steps = op.Concat(step, step, axis=0)
    some = op.Slice(pixels, op.Constant(value_ints=[0, 0]), shape, op.Constant(value_ints=[0, 1]), steps)
    return op.Reshape(some, op.Constant(value_ints=[-1]))


@script()
def percentile(values, share):
    """Percentile `share` (double, in [0, 1]) of values in one dimension, interpolated as numpy does."""
    count = op.Shape(values)
    ranked, _ = op.TopK(values, count, largest=0)
    place = share * op.Cast(count - 1, to=DOUBLE)
    low = op.Floor(place)
    below = op.Gather(ranked, op.Cast(low, to=INT64))
    above = op.Gather(ranked, op.Cast(op.Ceil(place), to=INT64))
    return below + (above - below) * op.Cast(place - low, to=FLOAT)


@script()
def placed(pixels, low, high):
    """As ``tone._placed``, of two levels that differ."""
    return op.Clip((pixels - low) * (0.895 / (high - low)) + 0.005, 0.0, 1.0)


@script()
def tone_range(pixels):
    """As ``tone.stretch``."""
    some = sample(pixels)
    low = percentile(some, op.Cast(op.Constant(value_float=0.005), to=DOUBLE))
    high = percentile(some, op.Cast(op.Constant(value_float=0.995), to=DOUBLE))
    flat = op.And(high > low, high - low < 0.55)
    if flat:  # noqa: SIM108, which graphs do not know
        toned = placed(pixels, low, high)
    else:
        toned = op.Identity(pixels)
    return toned


@script()
def tone_levels(pixels):
    """As ``tone.level``."""
    some = sample(pixels)
    low = percentile(some, op.Cast(op.Constant(value_float=0.005), to=DOUBLE))
    high = percentile(some, op.Cast(op.Constant(value_float=0.995), to=DOUBLE))
    if high > low:  # noqa: SIM108, as above
        toned = placed(pixels, low, high)
    else:
        toned = op.Identity(pixels)
    return toned


@script()
def resize_rows(values, length):
    """Each row resized to `length` (int64 [1]) by Pillow's bilinear filter, bit by bit: sums in 64 bits."""
    one = op.Constant(value_int=1)
    within = op.Gather(op.Shape(values), op.Constant(value_ints=[1]))
    scale = op.Cast(within, to=DOUBLE) / op.Cast(length, to=DOUBLE)
    support = op.Max(scale, op.Cast(op.Constant(value_floats=[1.0]), to=DOUBLE))
    places = op.Cast(op.Range(one * 0, op.Squeeze(length), one), to=DOUBLE)
    centres = (places + 0.5) * scale
    taps = op.Cast(op.Ceil(support * 2.0), to=INT64) + 1
    steps = op.Unsqueeze(op.Range(one * 0, op.Squeeze(taps), one), op.Constant(value_ints=[1]))
    inner = op.Cast(op.Floor(centres - support + 0.5), to=INT64) + steps
    away = op.Abs((op.Cast(inner, to=DOUBLE) - centres + 0.5) * (1.0 / support))
    there = op.And(inner >= 0, inner < within)
    triangle = op.Relu(1.0 - away) * op.Cast(there, to=DOUBLE)
    weights = triangle * (1.0 / op.ReduceSum(triangle, op.Constant(value_ints=[0])))
    safe = op.Min(op.Max(inner, op.Constant(value_ints=[0])), within - 1)
    sums = op.Cast(op.Gather(values, op.Gather(safe, one * 0), axis=1), to=DOUBLE) * op.Gather(
        weights, one * 0
    )
    for before in range(op.Squeeze(taps) - 1):
        tap = before + 1
        each = op.Cast(op.Gather(values, op.Gather(safe, tap), axis=1), to=DOUBLE)
        sums = sums + each * op.Gather(weights, tap)
    return op.Cast(sums, to=FLOAT)


@script()
def resize(values, shape):
    """As ``PIL.Image.resize`` with BILINEAR does with 32-bit floats: across first, then down."""
    width = op.Gather(shape, op.Constant(value_ints=[1]))
    height = op.Gather(shape, op.Constant(value_ints=[0]))
    across = op.Transpose(resize_rows(values, width), perm=[1, 0])
    return op.Transpose(resize_rows(across, height), perm=[1, 0])


@script()
def letterbox(pixels, size, aspect):
    """As ``regions.letterbox``: the view [1, size, size], and start and length (y, x) of what it fills."""
    ones = op.Constant(value_ints=[1])
    stretch = op.Concat(op.Reshape(aspect, ones), op.Cast(ones, to=DOUBLE), axis=0)
    sides = op.Cast(op.Shape(pixels), to=DOUBLE) * stretch
    scale = op.Cast(size, to=DOUBLE) / op.ReduceMax(sides)
    filled = op.Max(op.Cast(op.Round(sides * scale), to=INT64), ones)
    start = (size - filled) / 2
    rounded = op.Round(op.Clip(resize(pixels, filled), 0.0, 1.0) * 255.0)
    square = op.Pad(rounded, op.Concat(start, size - filled - start, axis=0))
    return op.Unsqueeze(op.Cast(square, to=UINT8), op.Constant(value_ints=[0])), start, filled


@script()
def spread_within(seeds, inside):
    """What of `inside` is reached from `seeds`, corners touching; floats 0 and 1, [H, W]."""
    axes = op.Constant(value_ints=[0, 1])
    reached = seeds * inside
    more = op.Cast(op.Constant(value_int=1), to=BOOL)
    while more:
        pooled = op.MaxPool(op.Unsqueeze(reached, axes), kernel_shape=[3, 3], pads=[1, 1, 1, 1])
        grown = op.Squeeze(pooled, axes) * inside
        more = op.ReduceSum(grown - reached, keepdims=0) > 0.0
        reached = op.Identity(grown)
    return reached


@script()
def components(inside):
    """Number the connected parts of `inside` (floats 0 and 1, [H, W]; edges touching); 0 is outside.

    A part has the highest of its pixels' numbers, which count backwards, so that its first pixel tells it.
    """
    axes = op.Constant(value_ints=[0, 1])
    one = op.Constant(value_int=1)
    count = op.Squeeze(op.Size(inside))
    numbers = op.Range(count, count * 0, count * 0 - one)
    labels = op.Cast(op.Reshape(numbers, op.Shape(inside)), to=FLOAT) * inside
    more = op.Cast(one, to=BOOL)
    while more:
        each = op.Unsqueeze(labels, axes)
        down = op.MaxPool(each, kernel_shape=[3, 1], pads=[1, 0, 1, 0])
        across = op.MaxPool(each, kernel_shape=[1, 3], pads=[0, 1, 0, 1])
        grown = op.Squeeze(op.Max(down, across), axes) * inside
        more = op.ReduceSum(op.Abs(grown - labels), keepdims=0) > 0.0
        labels = op.Identity(grown)
    return labels


@script()
def largest(labels, keep):
    """Areas (floats) and numbers of the `keep` largest parts; 0 pixels where there are fewer."""
    flat = op.Reshape(op.Cast(labels, to=INT64), op.Constant(value_ints=[-1]))
    size = op.Shape(flat)
    none = op.Expand(op.Constant(value_float=0.0), size + 1)
    areas = op.ScatterElements(none, flat, op.Expand(op.Constant(value_float=1.0), size), reduction="add")
    # Outside is no part.
    parts = op.Slice(areas, op.Constant(value_ints=[1]), size + 1)
    areas_found, places = op.TopK(parts, keep)
    return areas_found, op.Cast(places + 1, to=FLOAT)


@script()
def clean_up(raw):
    """As ``segmenter.clean_up`` with its defaults: floats 0 and 1, [S, S]."""
    outside = 1.0 - raw
    shape = op.Shape(raw)
    middle = op.Expand(op.Constant(value_float=1.0), shape - 2)
    border = 1.0 - op.Pad(middle, op.Constant(value_ints=[1, 1, 1, 1]))
    filled = 1.0 - spread_within(border, outside)
    labels = components(filled)
    _, kept = largest(labels, op.Constant(value_ints=[2]))
    first = op.Gather(kept, op.Constant(value_int=0))
    second = op.Gather(kept, op.Constant(value_int=1))
    among = op.Or(op.Equal(labels, first), op.Equal(labels, second))
    return op.Cast(among, to=FLOAT) * filled


@script()
def lung_box(mask):
    """Bounding box (y0, x0, y1, x1) of a mask, floats 0 and 1, [H, W]; of no meaning where it is empty."""
    shape = op.Shape(mask)
    height = op.Gather(shape, op.Constant(value_int=0))
    width = op.Gather(shape, op.Constant(value_int=1))
    zero, one = op.Constant(value_int=0), op.Constant(value_int=1)
    rows, columns = op.Range(zero, height, one), op.Range(zero, width, one)
    filled_rows = op.ReduceMax(mask, op.Constant(value_ints=[1]), keepdims=0) > 0.0
    filled_columns = op.ReduceMax(mask, op.Constant(value_ints=[0]), keepdims=0) > 0.0
    return op.Concat(
        op.ReduceMin(op.Where(filled_rows, rows, height), op.Constant(value_ints=[0])),
        op.ReduceMin(op.Where(filled_columns, columns, width), op.Constant(value_ints=[0])),
        op.ReduceMax(op.Where(filled_rows, rows + 1, zero), op.Constant(value_ints=[0])),
        op.ReduceMax(op.Where(filled_columns, columns + 1, zero), op.Constant(value_ints=[0])),
        axis=0,
    )


@script()
def dilate(mask, fraction, aspect):
    """As ``regions.dilate_mask``: a mask, floats 0 and 1, widened with what is round on the film."""
    shape = op.Shape(mask)
    height = op.Slice(shape, op.Constant(value_ints=[0]), op.Constant(value_ints=[1]))
    width = op.Slice(shape, op.Constant(value_ints=[1]), op.Constant(value_ints=[2]))
    radius = fraction * op.Cast(width, to=DOUBLE)
    reach = op.Cast(op.Floor(radius), to=INT64)
    reach_down = op.Cast(op.Floor(radius / aspect), to=INT64)
    steps = op.Cast(op.Range(0, op.Squeeze(reach) + 1, 1), to=DOUBLE)
    nothing = reach * 0
    # Differences of running sums tell whether any pixel of a piece of a row is set.
    sums = op.CumSum(mask, op.Constant(value_int=1))
    left = op.Pad(sums, op.Concat(reach_down, reach + 1, reach_down, nothing, axis=0))
    padded = op.Pad(left, op.Concat(nothing, nothing, nothing, reach, axis=0), mode="edge")
    axes = op.Constant(value_ints=[0, 1])
    wide = mask > 0.0
    for down in range(op.Squeeze(reach_down) + 1):
        height_of = op.Cast(down, to=DOUBLE) * aspect
        chord = op.Cast(op.Sqrt(steps * steps + height_of * height_of) <= radius, to=INT64)
        across = op.Max(op.ReduceSum(chord) - 1, nothing)
        last = reach + 1 + across
        first = reach - across
        above = reach_down - down
        below = reach_down + down
        over = op.Slice(
            padded, op.Concat(above, last, axis=0), op.Concat(above + height, last + width, axis=0), axes
        ) > op.Slice(
            padded, op.Concat(above, first, axis=0), op.Concat(above + height, first + width, axis=0), axes
        )
        under = op.Slice(
            padded, op.Concat(below, last, axis=0), op.Concat(below + height, last + width, axis=0), axes
        ) > op.Slice(
            padded, op.Concat(below, first, axis=0), op.Concat(below + height, first + width, axis=0), axes
        )
        wide = op.Or(wide, op.Or(over, under))
    return op.Cast(wide, to=FLOAT)


@script()
def border_length(mask):
    """How many pixels of a mask, floats 0 and 1, lie on the four edges of the image; corners count twice."""
    axis0 = op.Constant(value_ints=[0])
    zero, last = op.Constant(value_int=0), op.Constant(value_int=-1)
    top = op.ReduceSum(op.Gather(mask, zero, axis=0), axis0)
    bottom = op.ReduceSum(op.Gather(mask, last, axis=0), axis0)
    left = op.ReduceSum(op.Gather(mask, zero, axis=1), axis0)
    right = op.ReduceSum(op.Gather(mask, last, axis=1), axis0)
    return top + bottom + left + right


@script()
def edge_length(mask):
    """How many pairs of neighbours a mask's outline parts."""
    axes = op.Constant(value_ints=[0, 1])
    shape = op.Shape(mask)
    one_down, one_across = op.Constant(value_ints=[1, 0]), op.Constant(value_ints=[0, 1])
    none = op.Constant(value_ints=[0, 0])
    down = op.Abs(op.Slice(mask, one_down, shape, axes) - op.Slice(mask, none, shape - one_down, axes))
    across = op.Abs(op.Slice(mask, one_across, shape, axes) - op.Slice(mask, none, shape - one_across, axes))
    return op.ReduceSum(down, keepdims=0) + op.ReduceSum(across, keepdims=0)


@script()
def centre(part):
    """Mean row and column (doubles) of a part, floats 0 and 1; not a number where it is empty."""
    zero, one = op.Constant(value_int=0), op.Constant(value_int=1)
    shape = op.Shape(part)
    rows = op.Cast(op.Range(zero, op.Gather(shape, zero), one), to=DOUBLE)
    columns = op.Cast(op.Range(zero, op.Gather(shape, one), one), to=DOUBLE)
    by_row = op.Cast(op.ReduceSum(part, op.Constant(value_ints=[1]), keepdims=0), to=DOUBLE)
    by_column = op.Cast(op.ReduceSum(part, op.Constant(value_ints=[0]), keepdims=0), to=DOUBLE)
    count = op.ReduceSum(by_row, keepdims=0)
    return op.ReduceSum(rows * by_row, keepdims=0) / count, op.ReduceSum(
        columns * by_column, keepdims=0
    ) / count


@script()
def taller(mask, aspect):
    """A mask with its rows repeated or left out, so that its pixels are square (``regions.resize_mask``)."""
    zero, one = op.Constant(value_int=0), op.Constant(value_int=1)
    height = op.Gather(op.Shape(mask), zero)
    wanted = op.Max(op.Cast(op.Round(op.Cast(height, to=DOUBLE) * aspect), to=INT64), one)
    places = op.Cast(op.Range(zero, wanted, one), to=DOUBLE) + 0.5
    scale = op.Cast(height, to=DOUBLE) / op.Cast(wanted, to=DOUBLE)
    return op.Gather(mask, op.Cast(op.Floor(places * scale), to=INT64), axis=0)


@script()
def measures(mask, min_balance, aspect):
    """What ``quality.mask_quality`` measures on a mask, floats 0 and 1, [H, W]: numbers.

    Returns area, pixels of the thinned mask, balance, width over height of the largest part, and border,
    compactness, tilt and symmetry of the lungs.
    """
    area = op.ReduceMean(op.Cast(mask, to=DOUBLE), keepdims=0)
    shape = op.Shape(mask)
    axes = op.Constant(value_ints=[0, 1])
    step = op.Max(op.ReduceMin(shape) / 128, op.Constant(value_ints=[1]))
    thinned = op.Slice(mask, op.Constant(value_ints=[0, 0]), shape, axes, op.Concat(step, step, axis=0))
    small = taller(thinned, aspect)
    labels = components(small)
    areas, kept = largest(labels, op.Constant(value_ints=[2]))
    zero, one = op.Constant(value_int=0), op.Constant(value_int=1)
    greater, lesser = op.Gather(areas, zero), op.Gather(areas, one)
    balance = op.Cast(lesser, to=DOUBLE) / op.Cast(greater, to=DOUBLE)
    first = op.Cast(op.Equal(labels, op.Gather(kept, zero)), to=FLOAT) * small
    other = op.Cast(op.Equal(labels, op.Gather(kept, one)), to=FLOAT) * small
    box = lung_box(first)
    sides = op.Cast(
        op.Slice(box, op.Constant(value_ints=[2]), op.Constant(value_ints=[4]))
        - op.Slice(box, op.Constant(value_ints=[0]), op.Constant(value_ints=[2])),
        to=DOUBLE,
    )
    wide = op.Gather(sides, one) / op.Gather(sides, zero)
    # One part that is wide enough is two lungs that touch: its own centre stands for both.
    merged = balance < min_balance
    second = op.Where(merged, first, other)
    y1, x1 = centre(first)
    y2, x2 = centre(second)
    down, across = op.Cast(op.Abs(y1 - y2), to=FLOAT), op.Cast(op.Abs(x1 - x2), to=FLOAT)
    right_angle = op.Where(down > 0.0, op.Constant(value_float=90.0), op.Constant(value_float=0.0))
    tilt = op.Where(across > 0.0, op.Atan(down / across) * 57.29577951308232, right_angle)
    small_shape = op.Shape(small)
    width = op.Gather(small_shape, one)
    turned = op.Cast(op.Round(x1 + x2), to=INT64) - op.Range(zero, width, one)
    seen = op.Cast(op.And(turned >= 0, turned < width), to=FLOAT)
    mirrored = op.Gather(small, op.Clip(turned, zero, width - 1), axis=1) * seen
    pixels = op.ReduceSum(small, keepdims=0)
    shared = op.ReduceSum(mirrored * small, keepdims=0)
    border = op.Squeeze(border_length(small))
    outline = op.Max(border + edge_length(small), op.Constant(value_float=1.0))
    whole = op.Cast(pixels, to=DOUBLE)
    border_share = op.Cast(border, to=DOUBLE) / op.Sqrt(whole)
    compactness = 16.0 * whole / op.Cast(outline * outline, to=DOUBLE)
    symmetry = op.Cast(shared, to=DOUBLE) / whole
    angle = op.Cast(tilt, to=DOUBLE)
    return area, whole, balance, wide, border_share, compactness, angle, symmetry


@script()
def lungs_of(logits, film, start, filled, threshold):
    """As ``Segmenter.segment_with_agreement``: the mask, floats 0 and 1, [H, W], and the agreement."""
    axes = op.Constant(value_ints=[0, 1])
    probability = op.Squeeze(op.Sigmoid(logits), axes)
    raw = op.Cast(probability > threshold, to=FLOAT)
    likely = op.ReduceSum(op.Cast(probability > 0.3, to=DOUBLE), keepdims=0)
    sure = op.ReduceSum(op.Cast(probability > 0.7, to=DOUBLE), keepdims=0)
    both = likely + sure
    agreement = op.Where(both > 0.0, 2.0 * sure / both, both)
    cleaned = clean_up(raw)
    mended = op.Where(op.Equal(cleaned, raw), probability, cleaned)
    inner = op.Slice(mended, start, start + filled, axes)
    return op.Cast(resize(inner, op.Shape(film)) > threshold, to=FLOAT), agreement


@script()
def grown(mask):
    """As ``lungs._grown``, of floats 0 and 1."""
    axes = op.Constant(value_ints=[0, 1])
    each = op.Unsqueeze(mask, axes)
    down = op.MaxPool(each, kernel_shape=[3, 1], pads=[1, 0, 1, 0])
    across = op.MaxPool(each, kernel_shape=[1, 3], pads=[0, 1, 0, 1])
    return op.Squeeze(op.Max(down, across), axes)


@script()
def overlay(film, mask, colour, tint):
    """As ``Lungs.overlay``: uint8 [H, W, 4], the last channel opaque."""
    outline = mask * grown(1.0 - mask)
    for _ in range(op.ReduceMax(op.Shape(film), keepdims=0) / 1000):
        outline = grown(outline)
    last = op.Constant(value_ints=[2])
    grey = op.Unsqueeze(tone_range(film), last)
    strength = op.Unsqueeze(op.Max(mask * tint, outline), last)
    painted = grey * (1.0 - strength) + colour * strength
    opaque = grey * 0.0 + 1.0
    return op.Cast(op.Round(op.Concat(painted, opaque, axis=2) * 255.0), to=UINT8)


@script()
def planes(film, mask, fraction, margin, crops, aspect):
    """What a region is cut of (``regions.cut``): film, mask and the lungs' box, cropped where it crops."""
    wide = dilate(mask, fraction, aspect)
    axes = op.Constant(value_ints=[0, 1])
    shape = op.Shape(film)
    tight = lung_box(wide)
    first = op.Slice(tight, op.Constant(value_ints=[0]), op.Constant(value_ints=[2]))
    last = op.Slice(tight, op.Constant(value_ints=[2]), op.Constant(value_ints=[4]))
    # Lengths on the film: rows are `aspect` times as far apart as columns.
    ones_of = op.Constant(value_ints=[1])
    stretch = op.Concat(op.Reshape(aspect, ones_of), op.Cast(ones_of, to=DOUBLE), axis=0)
    longer = op.ReduceMax(op.Cast(last - first, to=DOUBLE) * stretch)
    extra = op.Cast(op.Round(margin * longer / stretch), to=INT64)
    low, high = op.Max(first - extra, op.Constant(value_ints=[0])), op.Min(last + extra, shape)
    ones = op.Expand(op.Constant(value_float=1.0), high - low)
    inside = op.Pad(ones, op.Concat(low, shape - high, axis=0))
    start, end = op.Where(crops, low, low * 0), op.Where(crops, high, shape)
    return (
        op.Slice(film, start, end, axes),
        op.Slice(wide, start, end, axes) > 0.0,
        op.Slice(inside, start, end, axes) > 0.0,
    )


@script()
def probabilities(logits, temperature):
    """As ``Classifier.probabilities``, in doubles [1, classes]."""
    return op.Softmax(op.Cast(logits, to=DOUBLE) / temperature, axis=-1)


@script(default_opset=op)
def score_lac(likely):
    """As ``conformal._lac``."""
    return 1.0 - likely


@script()
def score_aps(likely):
    """As ``conformal._aps``."""
    each, other = (
        op.Unsqueeze(likely, op.Constant(value_ints=[2])),
        op.Unsqueeze(likely, op.Constant(value_ints=[1])),
    )
    return op.ReduceSum(op.Cast(other >= each, to=DOUBLE) * other, op.Constant(value_ints=[2]), keepdims=0)


@script()
def score_raps(likely):
    """As ``conformal._raps``."""
    each, other = (
        op.Unsqueeze(likely, op.Constant(value_ints=[2])),
        op.Unsqueeze(likely, op.Constant(value_ints=[1])),
    )
    rank = op.ReduceSum(op.Cast(other >= each, to=DOUBLE), op.Constant(value_ints=[2]), keepdims=0)
    return score_aps(likely) + 0.1 * op.Max(rank - 1.0, rank * 0.0)


@script()
def p_values(scores, known, below, groups):
    """As ``conformal.p_values``, in doubles [1, classes].

    `known` [classes, M], rising and filled up with infinity; `below` [classes, M + 1]; `groups` [classes].
    """
    better = op.ReduceSum(
        op.Cast(
            known
            < op.Unsqueeze(op.Squeeze(scores, op.Constant(value_ints=[0])), op.Constant(value_ints=[1])),
            to=INT64,
        ),
        op.Constant(value_ints=[1]),
    )
    least = op.Squeeze(op.GatherElements(below, better, axis=1), op.Constant(value_ints=[1]))
    return op.Unsqueeze((groups + 1.0 - least) / (groups + 1.0), op.Constant(value_ints=[0]))
