use serde_json::{Map, Value, json};

use crate::{ChatRequest, Model, Reply, Tool};

/// The default script: a travel assistant.
///
/// If weather or hotel tools are offered and the last user message asks about them, it calls them, in parallel if it
/// may; once their results are there it answers in a sentence that quotes them. Otherwise it answers with a sentence
/// built on the last user message.
#[derive(Clone, Copy, Debug, Default)]
pub struct Travel;

impl Model for Travel {
    fn reply(&self, request: &ChatRequest) -> Reply {
        let question = request.last_user().unwrap_or_default();
        let mut calls = open_calls(request, question);
        if !request.parallel_tool_calls {
            calls.truncate(1);
        }
        if calls.is_empty() { Reply::text(answer(request, question)) } else { Reply::tool_calls(calls) }
    }
}

/// The words that ask for a kind of tool. The first also marks the tool itself.
const TOPICS: [&[&str]; 2] =
    [&["weather", "forecast", "rain", "temperature", "sunny"], &["hotel", "room", "stay", "sleep"]];

const DEFAULT_MAX_PRICE: u64 = 150;

/// The calls that the question needs and that this turn has not made yet.
fn open_calls(request: &ChatRequest, question: &str) -> Vec<(String, Value)> {
    let Some(city) = city(question) else {
        return Vec::new();
    };
    let made: Vec<&str> = request
        .turn()
        .iter()
        .flat_map(|message| &message.tool_calls)
        .map(|call| call.name.as_str())
        .collect();
    let wanted = wanted_tools(request, question);
    let open = wanted.into_iter().filter(|tool| !made.contains(&tool.name.as_str()));
    open.map(|tool| (tool.name.clone(), arguments(tool, &city, question))).collect()
}

fn wanted_tools<'a>(request: &'a ChatRequest, question: &str) -> Vec<&'a Tool> {
    let question = question.to_lowercase();
    let asked = TOPICS.iter().filter(|topic| topic.iter().any(|word| question.contains(word)));
    asked
        .filter_map(|topic| request.tools.iter().find(|tool| tool.name.to_lowercase().contains(topic[0])))
        .collect()
}

fn arguments(tool: &Tool, city: &str, question: &str) -> Value {
    let values = tool.parameters.iter().filter_map(|parameter| {
        let value = match parameter.as_str() {
            // An agent that is offered as a tool.
            "prompt" | "question" | "query" => json!(question),
            "city" | "location" | "destination" | "place" => json!(city),
            "max_price" | "budget" | "price" => {
                json!(number(question).unwrap_or(DEFAULT_MAX_PRICE))
            }
            _ => return None,
        };
        Some((parameter.clone(), value))
    });
    Value::Object(values.collect::<Map<_, _>>())
}

fn answer(request: &ChatRequest, question: &str) -> String {
    let results = request.tool_results();
    let place = city(question);
    if !results.is_empty() {
        let quotes: Vec<String> =
            results.iter().map(|result| format!("{} says {}", result.name, result.text.trim())).collect();
        let place = place.map_or_else(String::new, |city| format!(" for {city}"));
        return format!("Here is what I found{place}: {}.", quotes.join("; "));
    }
    let question = question.trim();
    match place {
        _ if question.is_empty() => "Where would you like to go?".to_owned(),
        Some(city) => {
            format!("{city} is a fine choice. About \"{question}\": go in spring, book early and pack light.")
        }
        None => format!("You asked \"{question}\". Name a city and I will tell you more."),
    }
}

/// The first run of capitalised words after a preposition of place, else the first one inside a sentence.
fn city(question: &str) -> Option<String> {
    let words: Vec<&str> = question.split_whitespace().collect();
    let starts = (1..words.len()).filter(|&at| is_name(words[at]));
    let mut starts: Vec<usize> = starts.filter(|&at| !ends_sentence(words[at - 1])).collect();
    starts.sort_by_key(|&at| !is_preposition(words[at - 1]));
    let start = *starts.first()?;
    let mut name = Vec::new();
    for word in words[start..].iter().take_while(|word| is_name(word)) {
        name.push(bare(word));
        if bare(word).len() != word.len() {
            break;
        }
    }
    Some(name.join(" "))
}

fn is_name(word: &str) -> bool {
    let word = bare(word);
    word.chars().next().is_some_and(char::is_uppercase) && word.chars().count() > 1
}

fn is_preposition(word: &str) -> bool {
    ["in", "to", "for", "at", "near", "around"].contains(&word.to_lowercase().as_str())
}

fn ends_sentence(word: &str) -> bool {
    word.ends_with(['.', '!', '?', ':'])
}

/// The word without punctuation around it and without a possessive.
fn bare(word: &str) -> &str {
    let word = word.trim_matches(|c: char| !c.is_alphanumeric());
    word.strip_suffix("'s").unwrap_or(word)
}

fn number(question: &str) -> Option<u64> {
    let mut numbers = question.split(|c: char| !c.is_ascii_digit()).filter(|digits| !digits.is_empty());
    numbers.next()?.parse().ok()
}
