//! Reading a label selector as queries write it: `app=web,tier in (back,front),!old,size>3`.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "every token that is not named is the wrong one"
)]

use super::Requirement;
use crate::status::Refusal;
use crate::validate;

const OPERATORS: &str = "'=', '!=', '==', 'in', notin'";

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Word(String),
    /// One of `! = == != < > ( ) ,`.
    Sign(&'static str),
    End,
}

impl Token {
    fn shown(&self) -> &str {
        match self {
            Self::Word(word) => word,
            Self::Sign(sign) => sign,
            Self::End => "",
        }
    }
}

struct Reader {
    tokens: Vec<Token>,
    at: usize,
}

/// The requirements of a selector; all of them are to be met.
pub(super) fn read(selector: &str) -> Result<Vec<Requirement>, Refusal> {
    let mut reader = Reader { tokens: tokens(selector), at: 0 };
    let mut requirements = Vec::new();
    let wrong = |why: String| Refusal::bad_request(why);
    loop {
        match reader.peek() {
            Token::End => return Ok(requirements),
            Token::Word(_) | Token::Sign("!") => {
                let requirement = reader.requirement();
                let requirement = requirement
                    .map_err(|why| wrong(format!("unable to parse requirement: {why}")))?;
                requirements.push(requirement);
            }
            other @ Token::Sign(_) => {
                let found = other.shown();
                return Err(wrong(format!(
                    "found '{found}', expected: !, identifier, or 'end of string'"
                )));
            }
        }
        match reader.next() {
            Token::End => return Ok(requirements),
            Token::Sign(",") => match reader.peek() {
                Token::Word(_) | Token::Sign("!") => {}
                other => {
                    let found = other.shown();
                    return Err(wrong(format!("found '{found}', expected: identifier after ','")));
                }
            },
            other => {
                let found = other.shown();
                return Err(wrong(format!("found '{found}', expected: ',' or 'end of string'")));
            }
        }
    }
}

impl Reader {
    fn peek(&self) -> Token {
        self.tokens.get(self.at).cloned().unwrap_or(Token::End)
    }

    fn next(&mut self) -> Token {
        let token = self.peek();
        self.at += 1;
        token
    }

    fn requirement(&mut self) -> Result<Requirement, String> {
        let is_absence = self.peek() == Token::Sign("!");
        if is_absence {
            self.next();
        }
        let key = match self.next() {
            Token::Word(key) => key,
            other => return Err(format!("found '{}', expected: identifier", other.shown())),
        };
        let wrong: Vec<String> = validate::wrong_label_key(&key);
        if !wrong.is_empty() {
            return Err(format!("invalid label key \"{key}\": {}", wrong.join("; ")));
        }
        if is_absence {
            return match self.peek() {
                Token::End | Token::Sign(",") => Ok(Requirement::HasNot(key)),
                other => Err(format!("found '{}', expected: ','", other.shown())),
            };
        }
        match self.peek() {
            Token::End | Token::Sign(",") => return Ok(Requirement::Has(key)),
            _ => {}
        }
        match self.next() {
            Token::Sign("=" | "==") => Ok(Requirement::Is(key, vec![self.value()?])),
            Token::Sign("!=") => Ok(Requirement::IsNot(key, vec![self.value()?])),
            Token::Sign(sign @ ("<" | ">")) => {
                let bound = self.value()?.parse().map_err(|_| {
                    "for 'Gt', 'Lt' operators, the value must be an integer".to_owned()
                })?;
                let is_above = sign == ">";
                Ok(Requirement::Beyond { key, bound, is_above })
            }
            Token::Word(word) if word == "in" => Ok(Requirement::Is(key, self.values()?)),
            Token::Word(word) if word == "notin" => Ok(Requirement::IsNot(key, self.values()?)),
            other => Err(format!("found '{}', expected: {OPERATORS}", other.shown())),
        }
    }

    /// A single value; none is the empty one.
    fn value(&mut self) -> Result<String, String> {
        match self.peek() {
            Token::End | Token::Sign(",") => Ok(String::new()),
            Token::Word(word) => {
                self.next();
                Ok(word)
            }
            other @ Token::Sign(_) => {
                Err(format!("found '{}', expected: identifier", other.shown()))
            }
        }
    }

    /// Values between parentheses.
    fn values(&mut self) -> Result<Vec<String>, String> {
        match self.next() {
            Token::Sign("(") => {}
            other => return Err(format!("found '{}' expected: '('", other.shown())),
        }
        let mut values = Vec::new();
        loop {
            match self.next() {
                Token::Word(word) => values.push(word),
                Token::Sign(",") => {
                    values.push(String::new());
                    continue;
                }
                Token::Sign(")") => {
                    values.push(String::new());
                    return Ok(values);
                }
                other => {
                    return Err(format!(
                        "found '{}', expected: ',', ')' or identifier",
                        other.shown()
                    ));
                }
            }
            match self.next() {
                Token::Sign(")") => return Ok(values),
                Token::Sign(",") if self.peek() == Token::Sign(")") => {
                    self.next();
                    values.push(String::new());
                    return Ok(values);
                }
                Token::Sign(",") => {}
                other => return Err(format!("found '{}', expected: ',' or ')'", other.shown())),
            }
        }
    }
}

fn tokens(selector: &str) -> Vec<Token> {
    const SIGNS: [&str; 9] = ["==", "!=", "!", "=", "<", ">", "(", ")", ","];
    let mut tokens = Vec::new();
    let mut rest = selector.trim_start();
    while !rest.is_empty() {
        if let Some(sign) = SIGNS.into_iter().find(|sign| rest.starts_with(sign)) {
            tokens.push(Token::Sign(sign));
            rest = rest.get(sign.len()..).unwrap_or_default();
        } else {
            let is_end = |letter: char| letter.is_whitespace() || "!=<>(),".contains(letter);
            let (word, after) = rest.split_at(rest.find(is_end).unwrap_or(rest.len()));
            tokens.push(Token::Word(word.to_owned()));
            rest = after;
        }
        rest = rest.trim_start();
    }
    tokens
}
