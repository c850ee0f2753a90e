//! Where a checkpoint keeps its parts: transformers has renamed them over the years, and the authors have names of their own.

use super::config::{Layout, LlavaConfig};
use crate::models::weights::{Scope, Weights};

/// Places to look for a part: the first that holds the tensor counts, and where none does, the first is named in the error.
struct Places {
    prefixes: &'static [&'static str],
    tensor: &'static str,
}

const VISION: Places = Places {
    prefixes: &[
        "vision_tower.vision_model",
        "model.vision_tower.vision_model",
        "vision_tower",
        "model.vision_tower",
        // The authors wrap transformers' tower in one of their own.
        "model.vision_tower.vision_tower.vision_model",
        "vision_tower.vision_tower.vision_model",
    ],
    tensor: "embeddings.class_embedding",
};

/// In a checkpoint that is borrowed from.
const TOWER: Places = Places { prefixes: &["vision_model", "", "model.vision_model"], tensor: VISION.tensor };

const BODY: Places = Places {
    prefixes: &[
        "language_model.model",
        "model.language_model",
        "model.language_model.model",
        "model",
        "language_model",
    ],
    tensor: "embed_tokens.weight",
};

const HEAD: Places =
    Places { prefixes: &["language_model", "", "model.language_model", "model"], tensor: "lm_head.weight" };

const PROJECTOR: Places =
    Places { prefixes: &["multi_modal_projector", "model.multi_modal_projector"], tensor: "linear_1.weight" };

const NEWLINE: Places = Places { prefixes: &["", "model"], tensor: "image_newline" };

impl Places {
    fn find<'a>(&self, weights: &'a Weights) -> Option<Scope<'a>> {
        self.prefixes.iter().map(|prefix| weights.under(prefix)).find(|scope| scope.has(self.tensor))
    }

    fn find_or_first<'a>(&self, weights: &'a Weights) -> Scope<'a> {
        self.find(weights).unwrap_or_else(|| weights.under(self.prefixes.first().unwrap_or(&"")))
    }
}

/// The vision tower: the checkpoint's own, else the borrowed one.
pub(super) fn vision<'a>(own: &'a Weights, tower: Option<&'a Weights>) -> Scope<'a> {
    match (VISION.find(own), tower) {
        (Some(scope), _) => scope,
        (None, Some(tower)) => TOWER.find_or_first(tower),
        (None, None) => VISION.find_or_first(own),
    }
}

/// The language model without its output matrix, and what holds that.
pub(super) fn language(own: &Weights) -> (Scope<'_>, Scope<'_>) {
    (BODY.find_or_first(own), HEAD.find_or_first(own))
}

/// The projector, and the names of its linear layers in it.
pub(super) fn projector<'a>(own: &'a Weights, config: &LlavaConfig) -> (Scope<'a>, Vec<String>) {
    let count = config.projector_layers;
    match config.layout {
        Layout::Transformers => {
            (PROJECTOR.find_or_first(own), (1..=count).map(|n| format!("linear_{n}")).collect())
        }
        Layout::Original if count == 1 && own.has("model.mm_projector.weight") => {
            (own.under("model"), vec!["mm_projector".to_owned()])
        }
        // A torch Sequential: the activations between count too.
        Layout::Original => {
            (own.under("model.mm_projector"), (0..count).map(|n| (2 * n).to_string()).collect())
        }
    }
}

/// What holds `image_newline`.
pub(super) fn newline(own: &Weights) -> Scope<'_> {
    NEWLINE.find_or_first(own)
}
