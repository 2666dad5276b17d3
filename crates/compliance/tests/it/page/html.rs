//! Reads the HTML that pages are made of: strictly, so that whatever a browser would have to guess is a failure.

use std::collections::BTreeMap;

/// Elements without content.
const VOID: [&str; 4] = ["input", "link", "meta", "wbr"];

/// Everything that a page may consist of. There is nothing among it that runs, embeds or styles in place.
const ELEMENTS: [&str; 45] = [
    "a", "aside", "body", "button", "circle", "code", "dd", "details", "div", "dl", "dt", "em", "figure", "footer",
    "form", "h1", "h2", "h3", "h4", "head", "header", "html", "input", "label", "li", "link", "main", "meta", "nav",
    "p", "path", "pre", "rect", "section", "span", "strong", "summary", "svg", "symbol", "textarea", "time", "title",
    "ul", "use", "wbr",
];

/// Every attribute that occurs.
const ATTRIBUTES: [&str; 35] = [
    "action",
    "aria-current",
    "aria-describedby",
    "aria-hidden",
    "aria-label",
    "autocomplete",
    "charset",
    "checked",
    "class",
    "content",
    "cx",
    "cy",
    "d",
    "datetime",
    "focusable",
    "for",
    "height",
    "href",
    "id",
    "lang",
    "maxlength",
    "method",
    "name",
    "preserveAspectRatio",
    "r",
    "rel",
    "required",
    "role",
    "tabindex",
    "type",
    "value",
    "viewBox",
    "width",
    "x",
    "y",
];

/// One element with its attributes.
#[derive(Debug, Clone)]
pub(crate) struct Element {
    pub(crate) name: String,
    pub(crate) attributes: BTreeMap<String, String>,
    /// All text inside, spaces as they are.
    pub(crate) text: String,
    /// Index of the element it stands in.
    pub(crate) parent: Option<usize>,
}

impl Element {
    pub(crate) fn get(&self, attribute: &str) -> Option<&str> {
        self.attributes.get(attribute).map(String::as_str)
    }

    pub(crate) fn has_class(&self, class: &str) -> bool {
        self.get("class").is_some_and(|classes| classes.split(' ').any(|own| own == class))
    }

    /// Its text with every run of spaces as one.
    pub(crate) fn says(&self) -> String {
        self.text.split_whitespace().collect::<Vec<_>>().join(" ")
    }
}

/// A page's elements in the order they begin.
pub(crate) struct Html {
    pub(crate) elements: Vec<Element>,
}

impl Html {
    /// Reads a page; panics with what is wrong.
    pub(crate) fn parse(bytes: &[u8]) -> Self {
        let text = std::str::from_utf8(bytes).expect("UTF-8");
        let mut rest = text.strip_prefix("<!DOCTYPE html>").expect("the page begins with its kind");
        let (mut elements, mut open): (Vec<Element>, Vec<usize>) = (Vec::new(), Vec::new());
        while let Some(at) = rest.find('<') {
            let words = unescaped(&rest[..at]);
            open.iter().for_each(|index| elements[*index].text.push_str(&words));
            let end = rest[at..].find('>').expect("a tag ends") + at;
            let tag = &rest[at + 1..end];
            rest = &rest[end + 1..];
            if let Some(name) = tag.strip_prefix('/') {
                let last = open.pop().expect("a tag closes one that is open");
                assert_eq!(elements[last].name, name, "tags close in order");
                continue;
            }
            let element = element(tag, open.last().copied());
            let is_void = VOID.contains(&element.name.as_str());
            elements.push(element);
            if !is_void {
                open.push(elements.len() - 1);
            }
        }
        assert!(open.is_empty() && rest.trim().is_empty(), "everything is closed: {rest:?}");
        Self { elements }
    }

    pub(crate) fn of<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Element> {
        self.elements.iter().filter(move |element| element.name == name)
    }

    pub(crate) fn with_class<'a>(&'a self, class: &'a str) -> impl Iterator<Item = &'a Element> {
        self.elements.iter().filter(move |element| element.has_class(class))
    }

    pub(crate) fn ids(&self) -> Vec<&str> {
        self.elements.iter().filter_map(|element| element.get("id")).collect()
    }

    /// The elements inside one, at any depth.
    pub(crate) fn inside(&self, outer: &Element) -> Vec<&Element> {
        let outer = self.elements.iter().position(|element| std::ptr::eq(element, outer)).expect("it is on this page");
        let is_inside = |element: &Element| {
            std::iter::successors(element.parent, |index| self.elements[*index].parent).any(|index| index == outer)
        };
        self.elements.iter().filter(|element| is_inside(element)).collect()
    }
}

fn element(tag: &str, parent: Option<usize>) -> Element {
    let (name, mut rest) = tag.split_once(' ').unwrap_or((tag, ""));
    assert!(ELEMENTS.contains(&name), "a page has no element `{name}`");
    let mut attributes = BTreeMap::new();
    while !rest.is_empty() {
        let (attribute, value) = match rest.find(['=', ' ']) {
            Some(at) if rest.as_bytes()[at] == b'=' => {
                let quoted = rest[at + 1..].strip_prefix('"').expect("values stand in quotes");
                let end = quoted.find('"').expect("quotes close");
                let attribute = &rest[..at];
                rest = quoted[end + 1..].trim_start();
                (attribute, unescaped(&quoted[..end]))
            }
            at => {
                let end = at.unwrap_or(rest.len());
                let attribute = &rest[..end];
                rest = rest[end..].trim_start();
                (attribute, String::new())
            }
        };
        assert!(ATTRIBUTES.contains(&attribute), "a page has no attribute `{attribute}`");
        assert!(attributes.insert(attribute.to_owned(), value).is_none(), "`{attribute}` stands there twice");
    }
    Element { name: name.to_owned(), attributes, text: String::new(), parent }
}

fn unescaped(text: &str) -> String {
    text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&amp;", "&")
}
