//! OpenCLIP's and OpenAI's names for models whose twins in Hugging Face layout are on the hub.

/// (architecture, weights, repository).
const TWINS: [(&str, &str, &str); 18] = [
    ("ViT-B-32", "openai", "openai/clip-vit-base-patch32"),
    ("ViT-B-16", "openai", "openai/clip-vit-base-patch16"),
    ("ViT-L-14", "openai", "openai/clip-vit-large-patch14"),
    ("ViT-L-14-336", "openai", "openai/clip-vit-large-patch14-336"),
    ("ViT-B-32-quickgelu", "openai", "openai/clip-vit-base-patch32"),
    ("ViT-B-16-quickgelu", "openai", "openai/clip-vit-base-patch16"),
    ("ViT-L-14-quickgelu", "openai", "openai/clip-vit-large-patch14"),
    ("ViT-L-14-336-quickgelu", "openai", "openai/clip-vit-large-patch14-336"),
    ("ViT-B-32", "laion2b_s34b_b79k", "laion/CLIP-ViT-B-32-laion2B-s34B-b79K"),
    ("ViT-B-16", "laion2b_s34b_b88k", "laion/CLIP-ViT-B-16-laion2B-s34B-b88K"),
    ("ViT-L-14", "laion2b_s32b_b82k", "laion/CLIP-ViT-L-14-laion2B-s32B-b82K"),
    ("ViT-H-14", "laion2b_s32b_b79k", "laion/CLIP-ViT-H-14-laion2B-s32B-b79K"),
    ("ViT-g-14", "laion2b_s12b_b42k", "laion/CLIP-ViT-g-14-laion2B-s12B-b42K"),
    ("ViT-g-14", "laion2b_s34b_b88k", "laion/CLIP-ViT-g-14-laion2B-s34B-b88K"),
    ("ViT-bigG-14", "laion2b_s39b_b160k", "laion/CLIP-ViT-bigG-14-laion2B-39B-b160k"),
    ("ViT-B-32", "datacomp_xl_s13b_b90k", "laion/CLIP-ViT-B-32-DataComp.XL-s13B-b90K"),
    ("ViT-B-16", "datacomp_xl_s13b_b90k", "laion/CLIP-ViT-B-16-DataComp.XL-s13B-b90K"),
    ("ViT-L-14", "datacomp_xl_s13b_b90k", "laion/CLIP-ViT-L-14-DataComp.XL-s13B-b90K"),
];

/// The names that `clip.load` takes.
const OPENAI: [(&str, &str); 4] = [
    ("ViT-B/32", "openai/clip-vit-base-patch32"),
    ("ViT-B/16", "openai/clip-vit-base-patch16"),
    ("ViT-L/14", "openai/clip-vit-large-patch14"),
    ("ViT-L/14@336px", "openai/clip-vit-large-patch14-336"),
];

/// The repository of `name`: `ARCHITECTURE/WEIGHTS` as OpenCLIP has it, or one of OpenAI's; case does not count.
pub(crate) fn twin(name: &str) -> Option<&'static str> {
    if let Some((_, repo)) = OPENAI.iter().find(|(openai, _)| openai.eq_ignore_ascii_case(name)) {
        return Some(repo);
    }
    let (architecture, weights) = name.split_once('/')?;
    let same = |a: &str, b: &str| a.eq_ignore_ascii_case(b);
    TWINS.iter().find(|(a, w, _)| same(a, architecture) && same(w, weights)).map(|(_, _, repo)| *repo)
}

/// Every OpenCLIP name that is known.
pub(crate) fn names() -> impl Iterator<Item = String> {
    TWINS.iter().map(|(architecture, weights, _)| format!("{architecture}/{weights}"))
}
