//! Everything here against candle's own products, and the kernel in 8 bits against plain loops.

use super::attention::{Heads, attend};
use super::bytes::{Coded, Inputs, scalar};
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
    if !available() {
        return;
    }
    for (rows, from, to) in SIZES {
        let linear = Linear::new(random(&[to, from]), Some(random(&[to])));
        let matrix = Matrix::new(&linear, false).unwrap();
        let (x, onto) = (random(&[rows, from]), random(&[rows, to]));
        let expected = linear.forward(&x).unwrap();
        let tolerance = 1e-5 * (from as f32).sqrt() + 1e-6;
        let what = format!("{rows} x {from} x {to}");
        check(&what, &matrix.forward(&x, None).unwrap(), &expected, 8.0 * tolerance);
        let added = (&expected + &onto).unwrap();
        check(&what, &matrix.forward(&x, Some(&onto)).unwrap(), &added, 8.0 * tolerance);
        let mut activated = vec![0.0; rows * to];
        let end = End::Activate(Activation::Relu);
        matrix.product(&values(&x), rows, &mut activated, end, &mut Inputs::default());
        let activated = Tensor::from_vec(activated, (rows, to), &Device::Cpu).unwrap();
        check(&what, &activated, &expected.relu().unwrap(), 8.0 * tolerance);
        assert!(matrix.forward(&random(&[rows, from + 1]), None).is_err());
    }
}

/// The kernel of this CPU and the plain loops, over the same rows.
fn bits(x: &[f32], coded: &Coded, end: End) -> (Vec<u32>, Vec<u32>) {
    let rows = x.len() / coded.from;
    let mut inputs = Inputs::default();
    let mut found: Vec<f32> = (0..rows * coded.to).map(|n| n as f32 * 0.37 - 5.0).collect();
    let mut expected = found.clone();
    coded.product(x, rows, &mut found, end, &mut inputs);
    scalar(coded, &inputs, rows, &mut expected, end);
    let bits = |values: Vec<f32>| values.into_iter().map(f32::to_bits).collect();
    (bits(found), bits(expected))
}

#[test]
fn the_kernel_in_8_bits_has_the_bits_of_plain_loops() {
    if !int8_available() {
        return;
    }
    for (rows, from, to) in SIZES {
        let coded = Coded::new(&values(&random(&[to, from])), &values(&random(&[to])), from);
        let x = values(&random(&[rows, from]));
        let gelu = End::Activate(Activation::QuickGelu);
        for end in [End::Write, End::Add, gelu, End::Activate(Activation::Gelu)] {
            let (found, expected) = bits(&x, &coded, end);
            assert_eq!(found, expected, "{rows} x {from} x {to}, {end:?}");
        }
    }
}

#[test]
fn extremes_do_not_overflow() {
    if !int8_available() {
        return;
    }
    let from = 4096;
    let coded = Coded::new(&vec![-1.0; from * 2], &[0.0, 1.0], from);
    for (value, expected) in [(3.0, -12288.0), (-3.0, 12288.0), (0.0, 0.0), (1e-42, 0.0), (1e33, -4.096e36)] {
        let mut out = vec![0.0; 2];
        coded.product(&vec![value; from], 1, &mut out, End::Write, &mut Inputs::default());
        assert!((out[0] - expected).abs() <= 1e-5 * f32::abs(expected), "{value}: {out:?}");
    }
    let blind = Coded::new(&[1.0, f32::NAN, f32::INFINITY, 1.0, 1e-42, -1e-42], &[0.0; 3], 2);
    let mut out = vec![0.0; 3];
    blind.product(&[1.0, 2.0], 1, &mut out, End::Write, &mut Inputs::default());
    assert!(out[0].is_nan() && out[1].is_nan() && out[2] == 0.0, "{out:?}");
    for odd in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut x = vec![1.0; 2 * from];
        x[77] = odd;
        let mut out = vec![0.0; 4];
        coded.product(&x, 2, &mut out, End::Write, &mut Inputs::default());
        assert!(out[0].is_nan() && out[1].is_nan() && out[2] == -4096.0, "{odd}: {out:?}");
    }
}

#[test]
fn products_in_8_bits_are_near() {
    if !int8_available() {
        return;
    }
    for (rows, from, to) in SIZES.into_iter().filter(|(_, from, _)| *from >= 32) {
        let linear = Linear::new(random(&[to, from]), Some(random(&[to])));
        let matrix = Matrix::new(&linear, true).unwrap();
        let x = random(&[rows, from]);
        let (found, expected) = (matrix.forward(&x, None).unwrap(), linear.forward(&x).unwrap());
        // Rounding moves an input by up to half of 1/255 of about 7, a weight by up to half of 1/127 of about 3.5.
        check(&format!("{rows} x {from} x {to}"), &found, &expected, 0.1 * (from as f32).sqrt());
    }
}

#[test]
fn rows_are_rounded_alike_whatever_the_cpu() {
    for from in [1, 3, 4, 63, 64, 65, 768] {
        let x = values(&random(&[1, from]));
        let tile = from.div_ceil(bytes::GROUP) * bytes::GROUP * bytes::TILE;
        let (mut wide, mut plain) = (vec![0; tile], vec![0; tile]);
        let facts = vnni::round_row(&x, &mut wide, 5);
        assert_eq!(facts, bytes::round_row(&x, &mut plain, 5), "{from}");
        assert_eq!(wide, plain, "{from}");
        for (at, x) in x.iter().enumerate() {
            let code = wide[(at / bytes::GROUP * bytes::TILE + 5) * bytes::GROUP + at % bytes::GROUP];
            let near = facts.0 * (f32::from(code) - facts.1 as f32);
            assert!((near - x).abs() <= 0.51 * facts.0, "{x} became {near}");
        }
    }
}

#[test]
fn attention_is_candles() {
    if !available() {
        return;
    }
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
            let mut found = vec![0.0; batch * length * width];
            attend(&values(&qkv), &mut found, Heads { length, width, heads, causal });
            let found = Tensor::from_vec(found, (batch, length, width), &Device::Cpu).unwrap();
            check(
                &format!("{batch} x {length} x {heads} x {head}, causal: {causal}"),
                &found,
                &expected,
                2e-5,
            );
        }
    }
}

#[test]
fn norms_are_candles() {
    if !available() {
        return;
    }
    for (rows, width) in [(1, 1), (3, 15), (40, 64), (17, 777)] {
        let (x, gain, shift) = (random(&[rows, width]), random(&[width]), random(&[width]));
        let x = (x * 3.0).unwrap().broadcast_add(&Tensor::new(2f32, &Device::Cpu).unwrap()).unwrap();
        let mut found = vec![0.0; rows * width];
        let norm = norm::Norm { gain: values(&gain), shift: values(&shift), eps: 1e-5 };
        norm.rows(&values(&x), &mut found);
        let expected = candle_nn::LayerNorm::new(gain, shift, 1e-5).forward(&x).unwrap();
        let found = Tensor::from_vec(found, (rows, width), &Device::Cpu).unwrap();
        check(&format!("{rows} x {width}"), &found, &expected, 2e-5);
    }
}
