//! Cases that are data: a line each, with what must become of it and the bytes it is about.

/// A line of a file of cases.
pub(crate) struct Case {
    /// Its number in the file.
    pub(crate) line: usize,
    /// What must become of it: the words before the first two spaces.
    pub(crate) verdict: Vec<&'static str>,
    /// The bytes that the rest of it stands for.
    pub(crate) bytes: Vec<u8>,
}

/// The cases of `file`, whose `words` stand for others. Empty lines and those that begin with `#` are none.
pub(crate) fn cases(file: &'static str, words: &[(&str, &str)]) -> Vec<Case> {
    let lines = (1..).zip(file.lines()).filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    let cases = lines.map(|(number, line)| {
        let (verdict, text) = line.split_once("  ").expect("a verdict, two spaces, bytes");
        let text = words.iter().fold(text.to_owned(), |text, (word, meaning)| text.replace(word, meaning));
        Case { line: number, verdict: verdict.split(' ').collect(), bytes: bytes_of(&text) }
    });
    cases.collect()
}

/// The bytes that a text stands for: `\r \n \t \0 \\ \xNN`, and `<70000*x>` for 70,000 times x.
fn bytes_of(text: &str) -> Vec<u8> {
    let (mut bytes, mut rest) = (Vec::new(), text);
    while let Some(mark) = rest.find(['\\', '<']) {
        bytes.extend_from_slice(&rest.as_bytes()[..mark]);
        rest = &rest[mark..];
        let used = match (rest.as_bytes()[0], rest.as_bytes()[1]) {
            (b'\\', b'x') => {
                bytes.push(u8::from_str_radix(&rest[2..4], 16).expect("two hex digits"));
                4
            }
            (b'\\', letter) => {
                let meaning = [(b'r', b'\r'), (b'n', b'\n'), (b't', b'\t'), (b'0', 0), (b'\\', b'\\')];
                bytes.push(meaning.iter().find(|(name, _)| *name == letter).expect("an escape").1);
                2
            }
            _ => match rest.find('>').map(|end| (end, rest[1..end].split_once('*'))) {
                Some((end, Some((times, what)))) => {
                    bytes.extend(bytes_of(what).repeat(times.parse().expect("a number")));
                    end + 1
                }
                _ => {
                    bytes.push(b'<');
                    1
                }
            },
        };
        rest = &rest[used..];
    }
    bytes.extend_from_slice(rest.as_bytes());
    bytes
}
