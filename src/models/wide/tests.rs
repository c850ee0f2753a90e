//! Everything here, with each kernel that this CPU has, against candle's own products; the kernels in 8 bits against plain loops.

use super::attention::{Heads, attend};
use super::bytes::scalar;
use super::*;
use candle_core::DType;
use candle_nn::Module;

fn random(shape: &[usize]) -> Tensor {
    Tensor::randn(0f32, 1f32, shape, &Device::Cpu).unwrap()
}

fn values(x: &Tensor) -> Vec<f32> {
    x.flatten_all().unwrap().to_vec1().unwrap()
}

fn check(what: &str, found: &Tensor, expected: &Tensor, tolerance: f32) {
    assert_eq!(found.dims(), expected.dims(), "{what}");
    let off = (found - expected).unwrap().abs().unwrap().flatten_all().unwrap();
    let worst = off.max(0).unwrap().to_dtype(DType::F32).unwrap().to_scalar::<f32>().unwrap();
    assert!(worst <= tolerance, "{what}: off by {worst}");
}

/// All kernels in f32 that this CPU can run.
fn in_floats() -> Vec<&'static floats::Kernel> {
    [Some(&floats::PLAIN), avx2::kernel(), avx512::kernel(), amx_floats::kernel(Split::Three)]
        .into_iter()
        .flatten()
        .collect()
}

/// All kernels in 8 bits that this CPU can run.
fn in_bytes() -> Vec<&'static bytes::Kernel> {
    [avx2_bytes::kernel(), vnni::kernel(), amx::kernel()].into_iter().flatten().collect()
}

/// `linear` as `form` lays it out.
fn matrix(linear: &Linear, form: impl FnOnce(&[f32], &[f32], usize) -> Form) -> Matrix {
    let from = linear.weight().dims2().unwrap().1;
    Matrix(form(&values(linear.weight()), &values(linear.bias().unwrap()), from))
}

/// (rows, inputs, outputs): one, whole panels and tiles, and what is left over of each.
const SIZES: [(usize, usize, usize); 8] = [
    (1, 1, 1),
    (7, 32, 48),
    (9, 40, 50),
    (170, 100, 96),
    (17, 1600, 31),
    (337, 768, 144),
    (3, 65, 17),
    (16, 3, 100),
];

#[test]
fn products_are_candles() {
    for ((rows, from, to), kernel) in
        SIZES.into_iter().flat_map(|size| in_floats().into_iter().map(move |k| (size, k)))
    {
        let linear = Linear::new(random(&[to, from]), Some(random(&[to])));
        let matrix = matrix(&linear, |rows, bias, from| Form::Floats(Packed::new(rows, bias, from, kernel)));
        let (x, onto) = (random(&[rows, from]), random(&[rows, to]));
        let expected = linear.forward(&x).unwrap();
        let tolerance = 1e-5 * (from as f32).sqrt() + 1e-6;
        let what = format!("{rows} x {from} x {to} by {}", kernel.tile);
        check(&what, &matrix.forward(&x, None).unwrap(), &expected, 8.0 * tolerance);
        let added = (&expected + &onto).unwrap();
        check(&what, &matrix.forward(&x, Some(&onto)).unwrap(), &added, 8.0 * tolerance);
        let mut activated = vec![0.0; rows * to];
        let end = End::Activate(Activation::Relu);
        let out = RowsMut::close(&mut activated, to);
        matrix.product(Rows::close(&values(&x), from), out, end, &mut Inputs::default());
        let activated = Tensor::from_vec(activated, (rows, to), &Device::Cpu).unwrap();
        check(&what, &activated, &expected.relu().unwrap(), 8.0 * tolerance);
        assert!(matrix.forward(&random(&[rows, from + 1]), None).is_err());
    }
}

fn multiply(coded: &Coded, x: &[f32], out: &mut [f32]) {
    let out = RowsMut::close(out, coded.to);
    coded.product(Rows::close(x, coded.from), out, End::Write, &mut Inputs::default());
}

/// A kernel and the plain loops, over the same rows.
fn bits(x: &[f32], coded: &Coded, end: End) -> (Vec<u32>, Vec<u32>) {
    let rows = x.len() / coded.from;
    let mut inputs = Inputs::default();
    let mut found: Vec<f32> = (0..rows * coded.to).map(|n| n as f32 * 0.37 - 5.0).collect();
    let mut expected = found.clone();
    coded.product(Rows::close(x, coded.from), RowsMut::close(&mut found, coded.to), end, &mut inputs);
    scalar(coded, &inputs, rows, &mut expected, end);
    let bits = |values: Vec<f32>| values.into_iter().map(f32::to_bits).collect();
    (bits(found), bits(expected))
}

#[test]
fn kernels_in_8_bits_have_the_bits_of_plain_loops() {
    for ((rows, from, to), kernel) in
        SIZES.into_iter().flat_map(|size| in_bytes().into_iter().map(move |k| (size, k)))
    {
        // Weights of one sign and inputs as large as they come are what sums in 16 bits might not hold.
        for weights in [random(&[to, from]), Tensor::ones(&[to, from], DType::F32, &Device::Cpu).unwrap()] {
            let coded = Coded::new(&values(&weights), &values(&random(&[to])), from, kernel);
            let mut x = values(&random(&[rows, from]));
            x.iter_mut().step_by(2).for_each(|x| *x = 4.0);
            let gelu = End::Activate(Activation::QuickGelu);
            for end in [End::Write, End::Add, gelu, End::Activate(Activation::Gelu)] {
                let (found, expected) = bits(&x, &coded, end);
                assert_eq!(found, expected, "{rows} x {from} x {to}, {end:?}");
            }
        }
    }
}

#[test]
fn extremes_do_not_overflow() {
    let from = 4096;
    for kernel in in_bytes() {
        // Where two codes have to fit 16 bits, a row of equal weights is rounded to a 64th.
        let near = if kernel.pairs { 0.01 } else { 1e-5 };
        let coded = Coded::new(&vec![-1.0; from * 2], &[0.0, 1.0], from, kernel);
        for (value, expected) in
            [(3.0, -12288.0), (-3.0, 12288.0), (0.0, 0.0), (1e-42, 0.0), (1e33, -4.096e36)]
        {
            let mut out = vec![0.0; 2];
            multiply(&coded, &vec![value; from], &mut out);
            assert!((out[0] - expected).abs() <= near * f32::abs(expected), "{value}: {out:?}");
        }
        let blind = Coded::new(&[1.0, f32::NAN, f32::INFINITY, 1.0, 1e-42, -1e-42], &[0.0; 3], 2, kernel);
        let mut out = vec![0.0; 3];
        multiply(&blind, &[1.0, 2.0], &mut out);
        assert!(out[0].is_nan() && out[1].is_nan() && out[2] == 0.0, "{out:?}");
        for odd in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut x = vec![1.0; 2 * from];
            x[77] = odd;
            let mut out = vec![0.0; 4];
            multiply(&coded, &x, &mut out);
            assert!(out[0].is_nan() && out[1].is_nan(), "{odd}: {out:?}");
            assert!((out[2] + 4096.0).abs() <= near * 4096.0, "{odd}: {out:?}");
        }
    }
}

#[test]
fn products_in_8_bits_are_near() {
    let sizes = SIZES.into_iter().filter(|(_, from, _)| *from >= 32);
    for ((rows, from, to), kernel) in sizes.flat_map(|size| in_bytes().into_iter().map(move |k| (size, k))) {
        let linear = Linear::new(random(&[to, from]), Some(random(&[to])));
        let matrix = matrix(&linear, |rows, bias, from| Form::Bytes(Coded::new(rows, bias, from, kernel)));
        let x = random(&[rows, from]);
        let (found, expected) = (matrix.forward(&x, None).unwrap(), linear.forward(&x).unwrap());
        // Rounding moves an input by up to half of 1/255 of about 7, a weight by up to half of 1/127 of about 3.5, or of
        // 5 where pairs have to fit.
        let worst = if kernel.pairs { 0.14 } else { 0.1 };
        check(&format!("{rows} x {from} x {to}"), &found, &expected, worst * (from as f32).sqrt());
    }
}

#[test]
fn products_of_bytes_lose_nothing_but_what_weights_do() {
    let mut dice = 7u32;
    let mut byte = || {
        dice = dice.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (dice >> 24) as u8
    };
    for ((rows, from, to), kernel) in
        SIZES.into_iter().flat_map(|size| in_bytes().into_iter().map(move |k| (size, k)))
    {
        let linear = Linear::new(random(&[to, from]), Some(random(&[to])));
        let bytes: Vec<u8> = (0..rows * from).map(|_| byte()).collect();
        let exact = Exact::by(kernel, &values(linear.weight()), &values(linear.bias().unwrap()), from);
        let found = Tensor::from_vec(exact.forward(&bytes), (rows, to), &Device::Cpu).unwrap();
        let x = bytes.into_iter().map(f32::from).collect();
        let expected = linear.forward(&Tensor::from_vec(x, (rows, from), &Device::Cpu).unwrap()).unwrap();
        // Rounding moves a weight by up to a quarter of (1/127)^2 of about 4, where pairs have to fit of twice that and a half more.
        let worst = 255.0 * if kernel.pairs { 3e-4 } else { 1e-4 };
        let what = format!("{rows} x {from} x {to} by {}", kernel.tile);
        check(&what, &found, &expected, worst * (from as f32).sqrt() + 1e-6);
    }
    for kernel in in_bytes() {
        let odd = Exact::by(kernel, &[f32::NAN, 1.0, 0.0, 0.0], &[1.0, 2.0], 2).forward(&[3, 4]);
        assert!(odd[0].is_nan() && odd[1] == 2.0, "{odd:?}");
    }
}

#[test]
fn rows_are_rounded_to_the_nearest_code() {
    for (from, kernel) in
        [1, 3, 4, 63, 64, 65, 768].into_iter().flat_map(|from| in_bytes().into_iter().map(move |k| (from, k)))
    {
        let x = values(&random(&[1, from]));
        let mut codes = vec![0; from.next_multiple_of(kernel.run) * kernel.tile];
        let (scale, zero) = (kernel.round)(&x, &mut codes, 5);
        for (at, x) in x.iter().enumerate() {
            let code = codes[(at / kernel.run * kernel.tile + 5) * kernel.run + at % kernel.run];
            let near = scale * (f32::from(code) - zero as f32);
            assert!((near - x).abs() <= 0.51 * scale, "{x} became {near}");
        }
    }
}

#[test]
fn attention_is_candles() {
    let sizes =
        [(1, 1, 1, 16), (2, 17, 3, 64), (1, 50, 2, 80), (2, 101, 2, 32), (3, 49, 2, 8), (1, 33, 2, 88)];
    for (batch, length, heads, head) in sizes {
        let width = heads * head;
        let qkv = random(&[batch, length, 3 * width]);
        let split = crate::models::layers::split_heads(&qkv, 3, heads).unwrap();
        let (q, k, v) = (split.get(0).unwrap(), split.get(1).unwrap(), split.get(2).unwrap());
        for causal in [false, true] {
            let sees = |at: usize| if at % length <= at / length { 0.0 } else { f32::NEG_INFINITY };
            let mask: Vec<f32> = (0..length * length).map(sees).collect();
            let mask = Tensor::from_vec(mask, (1, 1, length, length), &Device::Cpu).unwrap();
            let mask = causal.then_some(&mask);
            let expected = crate::models::layers::attend(&q, &k, &v, mask).unwrap();
            let expected = expected.transpose(1, 2).unwrap().reshape((batch, length, width)).unwrap();
            for kernel in in_floats() {
                let mut found = vec![0.0; batch * length * width];
                let shape = Heads { width, heads, causal };
                let (qkv, out) = (values(&qkv), RowsMut::close(&mut found, width));
                attend(kernel, Rows::close(&qkv, 3 * width), out, &Sequence::alike(batch, length), shape);
                let found = Tensor::from_vec(found, (batch, length, width), &Device::Cpu).unwrap();
                let what =
                    format!("{batch} x {length} x {heads} x {head} by {}, causal: {causal}", kernel.tile);
                check(&what, &found, &expected, 2e-5);
            }
        }
    }
}

/// Sequences that begin with others' rows see what they would see with copies of their own.
#[test]
fn shared_beginnings_are_seen() {
    let (width, heads) = (48, 3);
    let sequence = |before: &[usize], own| Sequence { before: before.to_vec(), own };
    let shared = [
        sequence(&[], 0..5),
        sequence(&[0, 1, 2], 5..9),
        sequence(&[0, 1, 2, 5, 6], 9..70),
        // All of it was there before.
        sequence(&[0, 1], 70..70),
        sequence(&[], 70..71),
    ];
    let qkv = random(&[71, 3 * width]).to_vec2::<f32>().unwrap();
    let rows = |sequence: &Sequence| (0..sequence.len()).map(|at| sequence.row(at)).collect::<Vec<usize>>();
    let shape = Heads { width, heads, causal: true };
    for kernel in in_floats() {
        let see = |qkv: &[f32], sequences: &[Sequence]| {
            let mut out = vec![0.0; qkv.len() / 3];
            let (rows, place) = (Rows::close(qkv, 3 * width), RowsMut::close(&mut out, width));
            attend(kernel, rows, place, sequences, shape);
            out.chunks(width).map(<[f32]>::to_vec).collect::<Vec<_>>()
        };
        let found = see(&qkv.concat(), &shared);
        for sequence in &shared {
            let copies: Vec<f32> = rows(sequence).iter().flat_map(|row| qkv[*row].clone()).collect();
            let expected = see(&copies, &Sequence::alike(1, sequence.len()));
            for (row, expected) in rows(sequence).iter().zip(expected) {
                let near = found[*row].iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-5);
                assert!(near, "row {row} by {}", kernel.tile);
            }
        }
    }
}

/// Parts of numbers are as good as the numbers: sums are no farther from the right ones than candle's are.
#[test]
fn products_of_parts_are_as_near_as_others() {
    let kernels = [Split::Three, Split::Two].map(amx_floats::kernel);
    let [Some(three), Some(two)] = kernels else { return };
    for (rows, from, to) in [(24, 768, 64), (400, 3072, 96), (64, 33, 32), (17, 70, 40)] {
        let linear = Linear::new(random(&[to, from]), Some(random(&[to])));
        let by =
            |kernel| matrix(&linear, |rows, bias, from| Form::Floats(Packed::new(rows, bias, from, kernel)));
        // Numbers of very different sizes.
        let x = random(&[rows, from]).powf(5.0).unwrap();
        let exact = |t: &Tensor| t.to_dtype(DType::F64).unwrap();
        let bias = linear.bias().map(exact);
        let right = Linear::new(exact(linear.weight()), bias).forward(&exact(&x)).unwrap();
        let size = |x: Tensor| x.sqr().unwrap().mean_all().unwrap().to_scalar::<f64>().unwrap().sqrt();
        let off = |found: Tensor| size((exact(&found) - &right).unwrap());
        let [three, two] = [three, two].map(|kernel| off(by(kernel).forward(&x, None).unwrap()));
        let theirs = off(linear.forward(&x).unwrap());
        println!(
            "{rows} x {from} x {to}: off by {three:.2e}, {two:.2e} in two parts, candle by {theirs:.2e}"
        );
        assert!(three < 2.0 * theirs + 1e-7, "{three} and {theirs}");
        // Half a unit in the last of 16 bits.
        assert!(two < size(right.clone()) / f64::from(1 << 16), "{two}");
    }
    // A row comes to the same wherever it stands.
    let linear = Linear::new(random(&[40, 100]), None);
    let row = random(&[1, 100]);
    let rows = Tensor::cat(&vec![&row; 43], 0).unwrap();
    let found = Matrix::new(&linear, Precision::Full)
        .unwrap()
        .forward(&rows, None)
        .unwrap()
        .to_vec2::<f32>()
        .unwrap();
    assert!(found.iter().all(|row| *row == found[0]));
    let odd = Linear::new(Tensor::ones((32, 64), DType::F32, &Device::Cpu).unwrap(), None);
    let odd = Matrix::new(&odd, Precision::Full).unwrap();
    for strange in [f32::NAN, f32::from_bits(0x7FFF_FFFF), f32::from_bits(0x7F80_0001), f32::INFINITY] {
        let mut x = vec![1.0; 32 * 64];
        x[70] = strange;
        let found = odd.forward(&Tensor::from_vec(x, (32, 64), &Device::Cpu).unwrap(), None).unwrap();
        let found = found.to_vec2::<f32>().unwrap();
        assert!(found[1].iter().all(|x| !x.is_finite()) && found[0].iter().all(|x| *x == 64.0), "{strange}");
    }
}

#[test]
fn norms_are_candles() {
    for (rows, width) in [(1, 1), (3, 15), (40, 64), (17, 777)] {
        let (x, gain, shift) = (random(&[rows, width]), random(&[width]), random(&[width]));
        let x = (x * 3.0).unwrap().broadcast_add(&Tensor::new(2f32, &Device::Cpu).unwrap()).unwrap();
        let mut found = vec![0.0; rows * width];
        let norm = norm::Norm { gain: values(&gain), shift: values(&shift), eps: 1e-5 };
        norm.rows(Rows::close(&values(&x), width), RowsMut::close(&mut found, width));
        let expected = candle_nn::LayerNorm::new(gain, shift, 1e-5).forward(&x).unwrap();
        let found = Tensor::from_vec(found, (rows, width), &Device::Cpu).unwrap();
        check(&format!("{rows} x {width}"), &found, &expected, 2e-5);
    }
}
