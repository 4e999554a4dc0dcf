//! What a page shows by itself: the document that was opened is still the one that is seen, and what moves in it.

use serde_json::{Value, json};

use super::driver::Browser;

/// A document that was opened, known again by what only it remembers.
#[derive(Debug)]
pub(crate) struct Mark<'b> {
    browser: &'b Browser,
    word: String,
}

impl Mark<'_> {
    /// Fails where the page was loaded again since.
    pub(crate) async fn is_still_there(&self) {
        let found = self.browser.run("return window.aditMark ?? null").await;
        assert_eq!(found, json!(self.word), "{}: it was loaded again", self.browser.path().await);
    }
}

impl Browser {
    /// Marks the document that is shown now.
    pub(crate) async fn mark(&self) -> Mark<'_> {
        let word = self.run("return window.aditMark = `${performance.timeOrigin} ${Math.random()}`").await;
        Mark { browser: self, word: word.as_str().unwrap().to_owned() }
    }

    /// What stands in the first element of this CSS selector, once there is one.
    pub(crate) async fn content(&self, selector: &str) -> String {
        self.has(selector).await;
        self.contents(selector).await.swap_remove(0)
    }

    /// What stands in each element of this CSS selector.
    pub(crate) async fn contents(&self, selector: &str) -> Vec<String> {
        let script = "return [...document.querySelectorAll(arguments[0])].map((it) => it.textContent)";
        let found = self.client().await.execute(script, vec![json!(selector)]).await.unwrap();
        found.as_array().unwrap().iter().filter_map(Value::as_str).map(str::to_owned).collect()
    }

    /// All that the page came with, shown or not.
    pub(crate) async fn source(&self) -> String {
        let script = "const done = arguments[0];
            fetch(location.href, { headers: { Accept: 'text/html' } }).then((it) => it.text()).then(done, () => done(''))";
        let text = self.run_async(script, Vec::new()).await;
        text.as_str().unwrap().to_owned()
    }

    /// How many messages the first sparkline tells of, and its line; where there is one.
    pub(crate) async fn spark(&self) -> Option<(String, String)> {
        let script = "const it = document.querySelector('svg.spark');
            return it && [it.querySelector('title').textContent, it.querySelector('path').getAttribute('d')]";
        let found = self.run(script).await;
        Some((found[0].as_str()?.to_owned(), found[1].as_str()?.to_owned()))
    }

    /// Waits until that line has moved and tells of messages.
    pub(crate) async fn sees_spark_move_from(&self, before: Option<&(String, String)>) {
        self.sees("a sparkline that has moved", async |page: &Self| {
            let now = page.spark().await;
            now.as_ref() != before && now.is_some_and(|(said, _)| !said.starts_with("0 messages"))
        })
        .await;
    }
}
