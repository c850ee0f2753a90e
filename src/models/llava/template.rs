//! The form of a conversation: a Jinja template that the checkpoint brings, else the one that LLaVA was trained with.

use crate::Result;
use crate::models::files::{CHAT_TEMPLATE, CHAT_TEMPLATE_JSON, ModelFiles, PROCESSOR, TOKENIZER_CONFIG};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{Environment, ErrorKind, Value as Jinja, context};
use serde_json::{Value, json};

/// Where a picture goes, in every template.
pub(super) const IMAGE: &str = "<image>";

/// LLaVA 1.5's own form (`conv_llava_v1`), for checkpoints that bring none.
const VICUNA: &str = "{% if system %}{{ system }}{% else %}A chat between a curious human and an artificial intelligence \
    assistant. The assistant gives helpful, detailed, and polite answers to the human's questions.{% endif %} \
    {% for message in messages %}{% if message.role == 'user' %}USER: {% for part in message.content %}\
    {% if part.type == 'image' %}{{ '<image>\\n' }}{% endif %}{% endfor %}{% for part in message.content %}\
    {% if part.type == 'text' %}{{ part.text }} {% endif %}{% endfor %}{% endif %}{% endfor %}ASSISTANT:";

/// LLaVA 1.6's form over Mistral (`conv_mistral_instruct`).
const MISTRAL: &str = "{% for message in messages %}{% if message.role == 'user' %}[INST] {% if system %}{{ system }}\
    {{ '\\n' }}{% endif %}{% for part in message.content %}{% if part.type == 'image' %}{{ '<image>\\n' }}{% endif %}\
    {% endfor %}{% for part in message.content %}{% if part.type == 'text' %}{{ part.text }}{% endif %}{% endfor %} \
    [/INST]{% endif %}{% endfor %}";

/// How much work a template may make: one that a stranger wrote must not run for ever.
const FUEL: u64 = 1_000_000;

/// A template that is ready to be filled in.
pub(super) struct Template {
    env: Environment<'static>,
    source: &'static str,
    model: String,
    tokens: Value,
    content: Content,
}

/// What a template takes as a message's content.
#[derive(Clone, Copy)]
enum Content {
    /// A list of parts, each an image or a text, as processors have it.
    Parts,
    /// One string, as tokenizers of plain language models have it.
    Text,
}

impl Template {
    /// Reads the template of `files`: `chat_template.jinja`, `chat_template.json`, `processor_config.json`,
    /// `tokenizer_config.json`, else the form that belongs to the language model.
    ///
    /// # Errors
    /// [`crate::Error::Model`] naming the file whose template can't be read, or doesn't place a picture.
    pub fn read(files: &ModelFiles, mistral: bool) -> Result<Self> {
        let (source, text) = match find(files)? {
            Some((source, text)) => (source, text),
            None if mistral => ("the built-in template", MISTRAL.to_owned()),
            None => ("the built-in template", VICUNA.to_owned()),
        };
        let mut env = Environment::new();
        if let Ok(syntax) = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build() {
            env.set_syntax(syntax);
        }
        env.set_fuel(Some(FUEL));
        env.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        env.add_function(
            "raise_exception",
            |reason: String| -> std::result::Result<Jinja, minijinja::Error> {
                Err(minijinja::Error::new(ErrorKind::InvalidOperation, reason))
            },
        );
        env.add_template_owned("chat", without_training_marks(text))
            .map_err(|e| files.error(format!("{source}: the chat template can't be read: {e}")))?;
        let tokens = special_tokens(files)?;
        let model = files.name.clone();
        let mut template = Template { env, source, model, tokens, content: Content::Parts };
        // Whether it takes parts is not written anywhere: one picture shows it.
        let placed = |text: &str| text.matches(IMAGE).count() == 1 && text.matches("[probe]").count() == 1;
        if !template.fill(None, "[probe]", 1).is_ok_and(|text| placed(&text)) {
            template.content = Content::Text;
            let text = template.fill(None, "[probe]", 1)?;
            if !placed(&text) {
                return Err(files
                    .error(format!("{source}: the chat template leaves out the picture or the question")));
            }
        }
        Ok(template)
    }

    /// The text of a question about `images` pictures, up to where the answer begins.
    ///
    /// # Errors
    /// [`crate::Error::Model`] when the template refuses.
    pub fn fill(&self, system: Option<&str>, question: &str, images: usize) -> Result<String> {
        let user = match self.content {
            Content::Text => Value::from(format!("{IMAGE}\n").repeat(images) + question),
            Content::Parts => {
                let images = std::iter::repeat_n(json!({"type": "image"}), images);
                images.chain([json!({"type": "text", "text": question})]).collect()
            }
        };
        let told = system.map(|text| match self.content {
            Content::Text => json!({"role": "system", "content": text}),
            Content::Parts => json!({"role": "system", "content": [{"type": "text", "text": text}]}),
        });
        let messages: Vec<Value> =
            told.into_iter().chain([json!({"role": "user", "content": user})]).collect();
        let render = || {
            self.env.get_template("chat")?.render(context! {
                messages => Jinja::from(Serde(&messages)),
                system => system,
                add_generation_prompt => true,
                ..Jinja::from(Serde(&self.tokens)),
            })
        };
        render().map_err(|e| {
            crate::Error::model(&self.model, format!("{}: the chat template fails: {e}", self.source))
        })
    }

    /// The token that begins a text, where the tokenizer's config names it.
    pub fn start(&self) -> Option<&str> {
        self.tokens["bos_token"].as_str()
    }

    /// The token that ends a text, where the tokenizer's config names it.
    pub fn end(&self) -> Option<&str> {
        self.tokens["eos_token"].as_str()
    }
}

/// The template that the checkpoint brings, and where it stands.
fn find(files: &ModelFiles) -> Result<Option<(&'static str, String)>> {
    if files.has(CHAT_TEMPLATE) {
        let bytes = files.read(CHAT_TEMPLATE)?;
        let text = String::from_utf8(bytes.into_owned())
            .map_err(|e| files.error(format!("{CHAT_TEMPLATE} isn't UTF-8: {e}")))?;
        return Ok(Some((CHAT_TEMPLATE, text)));
    }
    for file in [CHAT_TEMPLATE_JSON, PROCESSOR, TOKENIZER_CONFIG] {
        if !files.has(file) {
            continue;
        }
        let json = files.json(file)?;
        // Several templates: each has a name, and one is the default.
        let text = match &json["chat_template"] {
            Value::Array(named) => {
                named.iter().find(|t| t["name"] == "default").and_then(|t| t["template"].as_str())
            }
            template => template.as_str(),
        };
        if let Some(text) = text {
            return Ok(Some((file, text.to_owned())));
        }
    }
    Ok(None)
}

/// `{% generation %}` marks, for training, what the assistant says; to whoever only asks it means nothing.
fn without_training_marks(text: String) -> String {
    let marks = [("generation", "if true"), ("endgeneration", "endif")];
    marks.into_iter().fold(text, |text, (mark, plain)| {
        ["{% ", "{%- "]
            .into_iter()
            .fold(text, |text, open| text.replace(&format!("{open}{mark} "), &format!("{open}{plain} ")))
    })
}

/// What templates call `bos_token` and `eos_token`.
fn special_tokens(files: &ModelFiles) -> Result<Value> {
    let config = if files.has(TOKENIZER_CONFIG) { files.json(TOKENIZER_CONFIG)? } else { Value::Null };
    let token = |key: &str, default: &str| {
        let named = config[key].as_str().or(config[key]["content"].as_str());
        Value::from(named.unwrap_or(default))
    };
    Ok(json!({"bos_token": token("bos_token", "<s>"), "eos_token": token("eos_token", "</s>")}))
}
