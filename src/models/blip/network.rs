//! What a checkpoint can do, and the parts that it takes.

use super::config::BlipConfig;
use super::text::{Head, TextModel};
use super::vision::VisionTower;
use crate::Result;
use crate::models::files::ModelFiles;
use crate::models::preprocess::Preprocess;
use crate::models::weights::{Scope, Weights};
use candle_nn::Linear;
use std::fmt;

/// What a checkpoint can do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Abilities {
    pub matches: bool,
    pub captions: bool,
    pub answers: bool,
}

impl Abilities {
    /// What the classes that the config names do, and what there are tensors for: what is promised must be there in full.
    pub fn of(files: &ModelFiles, config: &BlipConfig, weights: &Weights) -> Result<Self> {
        const MATCHER: &str = "itm_head.weight";
        const ENCODER: &str = "text_encoder.embeddings.word_embeddings.weight";
        const DECODER: &str = "text_decoder.bert.embeddings.word_embeddings.weight";
        let has = |tensor| weights.has(tensor);
        let matches = config.says("BlipForImageTextRetrieval") || has(MATCHER);
        let answers = config.says("BlipForQuestionAnswering") || (has(ENCODER) && has(DECODER) && !matches);
        let captions =
            config.says("BlipForConditionalGeneration") || (has(DECODER) && (matches || !has(ENCODER)));
        let abilities = Abilities { matches, captions: captions && (matches || !answers), answers };
        if abilities == Abilities::default() {
            return Err(files.error(format!(
                "it can neither match nor write: it has no tensor {MATCHER}, and none {DECODER}"
            )));
        }
        Ok(abilities)
    }
}

impl fmt::Display for Abilities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all =
            [(self.matches, "match"), (self.captions, "write captions"), (self.answers, "answer questions")];
        let can: Vec<_> = all.iter().filter(|(can, _)| *can).map(|(_, what)| *what).collect();
        f.write_str(&can.join(" and "))
    }
}

pub(super) struct Network {
    pub abilities: Abilities,
    pub vision: VisionTower,
    /// Reads texts and questions.
    pub reader: Option<TextModel>,
    pub judge: Option<Judge>,
    /// Writes captions and answers.
    pub writer: Option<Writer>,
}

/// The matcher's heads.
pub(super) struct Judge {
    pub itm: Linear,
    pub image: Linear,
    pub text: Linear,
}

/// A decoder and its head.
pub(super) struct Writer {
    pub model: TextModel,
    pub head: Head,
}

impl Network {
    pub fn load(
        root: &Scope,
        config: &BlipConfig,
        abilities: Abilities,
        preprocess: Option<&Preprocess>,
    ) -> Result<Self> {
        let (vision, text, joint) = (config.vision.hidden_size, config.text.hidden_size, config.joint);
        let reads = abilities.matches || abilities.answers;
        let writes = abilities.captions || abilities.answers;
        let judge = || -> Result<Judge> {
            Ok(Judge {
                itm: root.linear("itm_head", text, 2)?,
                image: root.linear("vision_proj", vision, joint)?,
                text: root.linear("text_proj", text, joint)?,
            })
        };
        let writer = || -> Result<Writer> {
            let scope = root.pp("text_decoder");
            let model = TextModel::load(&scope.pp("bert"), config)?;
            let head = Head::load(&scope.pp("cls.predictions"), config, model.words())?;
            Ok(Writer { model, head })
        };
        Ok(Network {
            abilities,
            vision: VisionTower::load(&root.pp("vision_model"), &config.vision, preprocess)?,
            reader: reads.then(|| TextModel::load(&root.pp("text_encoder"), config)).transpose()?,
            judge: abilities.matches.then(judge).transpose()?,
            writer: writes.then(writer).transpose()?,
        })
    }
}
