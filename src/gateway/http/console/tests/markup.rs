//! The forms that stand on a page, as a browser would send them.

/// A form that changes something.
#[derive(Debug, Clone)]
pub(super) struct Form {
    pub(super) action: String,
    pub(super) fields: Vec<Field>,
}

/// One field, or one option of several.
#[derive(Debug, Clone)]
pub(super) struct Field {
    pub(super) name: String,
    pub(super) kind: Kind,
    pub(super) value: String,
    /// What is read beside an option.
    label: String,
    /// Whether it is ticked or chosen.
    is_set: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Hidden,
    Text,
    Secret,
    Option,
    Tick,
    Button,
}

/// What no page may show as markup, and what turns texts round or widens them.
const TEXTS: [&str; 4] = [
    "\"><script>alert(1)</script>&'",
    "قسم الأشعة",
    "🏥🏥",
    "WWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWW\
WWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWW",
];

/// Returns the forms of a page that change something.
pub(super) fn forms(page: &str) -> Vec<Form> {
    let mut forms = Vec::new();
    for form in page.split("<form ").skip(1) {
        let (head, rest) = form.split_once('>').unwrap();
        if attribute(head, "method").as_deref() == Some("post") {
            let body = rest.split("</form>").next().unwrap();
            forms.push(Form { action: attribute(head, "action").unwrap(), fields: fields(body) });
        }
    }
    forms
}

fn fields(body: &str) -> Vec<Field> {
    let (mut fields, mut select) = (Vec::new(), String::new());
    for (tag, text) in body.split('<').skip(1).filter_map(|part| part.split_once('>')) {
        let name = attribute(tag, "name").unwrap_or_default();
        let value = attribute(tag, "value");
        let kind = match tag.split_whitespace().next().unwrap_or_default() {
            "select" => {
                select = name;
                continue;
            }
            "option" => Kind::Option,
            "textarea" => Kind::Text,
            "button" if !name.is_empty() => Kind::Button,
            "input" => kind_of(&name, attribute(tag, "type").as_deref()),
            _ => continue,
        };
        let is_option = tag.starts_with("option");
        fields.push(Field {
            name: if is_option { select.clone() } else { name },
            kind,
            label: plain(text),
            value: value.unwrap_or_else(|| plain(text)),
            is_set: tag.ends_with(" checked") || tag.ends_with(" selected"),
        });
    }
    fields
}

fn kind_of(name: &str, kind: Option<&str>) -> Kind {
    match (name, kind) {
        ("code" | "token", _) | (_, Some("password")) => Kind::Secret,
        (_, Some("hidden")) => Kind::Hidden,
        (_, Some("radio")) => Kind::Option,
        (_, Some("checkbox")) => Kind::Tick,
        _ => Kind::Text,
    }
}

fn attribute(tag: &str, name: &str) -> Option<String> {
    let (_, rest) = tag.split_once(&format!("{name}=\""))?;
    Some(plain(rest.split('"').next()?))
}

fn plain(text: &str) -> String {
    let text = text.replace("&#60;", "<").replace("&#62;", ">").replace("&#34;", "\"").replace("&#39;", "'");
    text.replace("&#38;", "&")
}

impl Form {
    fn names(&self) -> Vec<&str> {
        let mut names: Vec<_> = self.fields.iter().map(|field| field.name.as_str()).collect();
        names.dedup();
        names
    }

    fn all(&self, name: &str) -> impl Iterator<Item = &Field> {
        self.fields.iter().filter(move |field| field.name == name)
    }

    /// Returns what stands in a field, or is chosen of it; `None` where nothing is sent of it.
    pub(super) fn value(&self, name: &str) -> Option<&str> {
        let shown = |field: &&Field| field.is_set || !matches!(field.kind, Kind::Option | Kind::Tick);
        self.all(name).find(shown).map(|field| field.value.as_str())
    }

    /// Returns the names of what somebody types or chooses.
    pub(super) fn typed(&self) -> Vec<&str> {
        let is_typed = |name: &&str| {
            self.all(name).any(|field| matches!(field.kind, Kind::Text | Kind::Option | Kind::Tick))
        };
        self.names().into_iter().filter(is_typed).collect()
    }

    pub(super) fn holds(&self, name: &str) -> bool {
        self.all(name).next().is_some()
    }

    /// Fills it in: each field with something that no other has, and that it had not.
    pub(super) fn filled(&self) -> Vec<(String, String)> {
        let mut sent = Vec::new();
        for (nth, name) in self.names().into_iter().enumerate() {
            let first = self.all(name).next().unwrap();
            let value = match first.kind {
                Kind::Hidden => Some(first.value.clone()),
                Kind::Button => self.typed().is_empty().then(|| first.value.clone()),
                Kind::Text => Some(format!("{}{nth}", TEXTS[nth % TEXTS.len()])),
                Kind::Secret => Some(format!("{UNSEEN}{nth}")),
                Kind::Option => self.all(name).filter(|it| !it.is_set).last().map(|it| it.value.clone()),
                Kind::Tick => (!first.is_set).then(|| first.value.clone()),
            };
            sent.extend(value.map(|value| (name.to_owned(), value)));
        }
        sent
    }

    /// Returns it as it stands, but for some texts, and options by what is read of them.
    pub(super) fn with(&self, texts: &[(&str, &str)]) -> Vec<(String, String)> {
        let mut sent = Vec::new();
        for name in self.names() {
            let text = texts.iter().find(|(it, _)| *it == name).map(|(_, text)| *text);
            let option =
                self.all(name).find(|it| Some(it.label.as_str()) == text).map(|it| it.value.as_str());
            let text = option.or(text);
            let first = self.all(name).next().filter(|it| it.kind != Kind::Tick).map(|it| it.value.as_str());
            let value = text.or_else(|| self.value(name)).or(first);
            sent.extend(value.map(|value| (name.to_owned(), value.to_owned())));
        }
        sent
    }
}

/// What stands in each secret that is sent.
pub(super) const UNSEEN: &str = "never shown again ";
