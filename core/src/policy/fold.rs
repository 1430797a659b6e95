//! One character of a text, seen as whoever reads it sees it: `ｋ`, `𝐤`, `ⓚ` and `ķ` are a `k`, a Cyrillic `к` looks like
//! one, and a zero-width joiner is nothing at all.
//!
//! The tables are made from Unicode's compatibility decompositions and from what the eye takes for a Latin letter; they
//! hold what is used to dress words up, not every character that there is.

/// What a character beyond ASCII is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Folded {
    /// Not seen: joiners, marks, variation selectors, soft hyphens.
    Nothing,
    /// White space.
    Space,
    /// A Latin letter or a digit in other clothes, in lower case.
    Latin(u8),
    /// A letter of another script that looks like a Latin one, in lower case.
    Lookalike(u8),
    /// Another letter or digit.
    Letter,
    /// A quotation mark.
    Quote,
    /// An apostrophe.
    Apostrophe,
    /// A mark that ends a sentence.
    Stop,
    /// Anything else.
    Other,
}

/// What `c`, which is not ASCII, is.
pub(super) fn fold(c: char) -> Folded {
    let code = c as u32;
    match code {
        0xad | 0x34f | 0x61c | 0x115f | 0x1160 | 0x17b4 | 0x17b5 | 0x180b..=0x180f | 0x200b..=0x200f => Folded::Nothing,
        0x202a..=0x202e | 0x2060..=0x206f | 0x3164 | 0xfe00..=0xfe0f | 0xfeff | 0xffa0 => Folded::Nothing,
        0x300..=0x36f | 0x483..=0x489 | 0x1ab0..=0x1aff | 0x1dc0..=0x1dff | 0x20d0..=0x20ff => Folded::Nothing,
        0xfe20..=0xfe2f | 0xe0000..=0xe0fff => Folded::Nothing,
        0x2018 | 0x2019 | 0x201b | 0x2032 | 0x2bc => Folded::Apostrophe,
        0x201c..=0x201f | 0xab | 0xbb | 0x300c..=0x300f | 0x2033 | 0xff02 => Folded::Quote,
        0x3002 | 0xff01 | 0xff0e | 0xff1f | 0x2026 | 0x964 | 0x61f => Folded::Stop,
        _ => letter(c),
    }
}

fn letter(c: char) -> Folded {
    let code = c as u32;
    if let Some(latin) = within(LATIN, code) {
        return Folded::Latin(latin);
    }
    if let Some(latin) = within(LOOKALIKE, code) {
        return Folded::Lookalike(latin);
    }
    match c {
        _ if c.is_alphanumeric() => Folded::Letter,
        _ if c.is_whitespace() => Folded::Space,
        _ => Folded::Other,
    }
}

/// The entry of `code` in a table of runs.
fn within(runs: &[(u32, &str)], code: u32) -> Option<u8> {
    let after = runs.partition_point(|&(start, _)| start <= code);
    let &(start, run) = runs.get(after.checked_sub(1)?)?;
    let found = *run.as_bytes().get((code - start) as usize)?;
    (found != b'_').then_some(found)
}

/// Letters and digits that are a Latin one in other clothes (Unicode 14, NFKD without marks, and the small capitals,
/// hooked, turned and boxed letters that it leaves alone): runs of characters from the first one on; `_` is none.
const LATIN: &[(u32, &str)] = &[
    (0xaa, "a"),
    (0xb2, "23_____1o_____aaaaaa_ceeeeiiii_nooooo_ouuuuy__aaaaaa_ceeeeiiiidnooooo_ouuuuy_yaaaaaacccc"),
    (0x10a, "ccccddddeeeeeeeeeegggggggghh_hiiiiiiiiii__jjkk_llllll__llnnnnnn___oooooo__rrrrrrssssssss"),
    (0x162, "tttt_tuuuuuuuuuuuuwwyyyzzzzzzsb"),
    (0x188, "c"),
    (0x192, "f"),
    (0x199, "kl___n_oo___p"),
    (0x1ad, "t_uu___y_z"),
    (0x1cd, "aaiioouuuuuuuuuueaaaa____ggkkoooo__j___gg__nnaa____aaaaeeeeiiiioooorrrruuuusstt__hh"),
    (0x226, "aaeeooooooooyy"),
    (0x250, "aa_bo__d___e____ggg__h__iii____m__n_n____r____r_r_s____t___vvwyy"),
    (0x299, "b__h__lq"),
    (0x2b0, "h_jr___wy"),
    (0x2e1, "lsx"),
    (0x1d00, "a___cd_e__jk_m_o"),
    (0x1d18, "p__tu___vwz"),
    (0x1d2c, "a_b_de_ghijklmn_o_prtuwa___bde___g_km_o___ptu__v"),
    (0x1d62, "iruv"),
    (0x1d9c, "c___f"),
    (0x1dbb, "z"),
    (0x1e00, "aabbbbbbccddddddddddeeeeeeeeeeffgghhhhhhhhhhiiiikkkkkkllllllllmmmmmmnnnnnnnnoooooooopppp"),
    (0x1e58, "rrrrrrrrssssssssssttttttttuuuuuuuuuuvvvvwwwwwwwwwwxxxxyyzzzzzzhtwy_s____aaaaaaaaaaaaaaaa"),
    (0x1eb0, "aaaaaaaaeeeeeeeeeeeeeeeeiiiioooooooooooooooooooooooouuuuuuuuuuuuuuyyyyyyyy"),
    (0x2070, "0i__456789_____n0123456789"),
    (0x2090, "aeox_hklmnpst"),
    (0x2102, "c"),
    (0x210a, "ghhhh_iill_n___pqrrr"),
    (0x2124, "z___z_kabc_eef_mo____i"),
    (0x2145, "ddeij"),
    (0x2160, "i___v____x__lcdmi___v____x__lcdm"),
    (0x2460, "123456789"),
    (0x249c, "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz0"),
    (0x2c7c, "jv"),
    (0x3200, "ᄀᄂᄃᄅᄆᄇᄉᄋᄌᄎᄏᄐᄑᄒ"),
    (0x3220, "一二三四五六七八九十月火水木金土日株有社名特財祝労代呼学監企資協祭休自至"),
    (0xa730, "fs"),
    (0xa7f2, "cfq"),
    (0xff10, "0123456789"),
    (0xff21, "abcdefghijklmnopqrstuvwxyz"),
    (0xff41, "abcdefghijklmnopqrstuvwxyz"),
    (0x107a5, "q"),
    (0x1d400, "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefg_ij"),
    (0x1d458, "klmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyza_cd__g__jk__nopq_st"),
    (0x1d4b0, "uvwxyzabcd_f_hijklmn_pqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzab_d"),
    (0x1d508, "efg__jklmnopq_stuvwxy_abcdefghijklmnopqrstuvwxyzab_defg_ijklm_o___stuvwxy_abcdefghijklmn"),
    (0x1d560, "opqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwx"),
    (0x1d5b8, "yzabcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefgh"),
    (0x1d610, "ijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijklmnopqr"),
    (0x1d668, "stuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz"),
    (0x1d7ce, "01234567890123456789012345678901234567890123456789"),
    (0x1f110, "abcdefghijklmnopqrstuvwxyz_cr___abcdefghijklmnopqrstuvwxyz"),
    (0x1f150, "abcdefghijklmnopqrstuvwxyz"),
    (0x1f170, "abcdefghijklmnopqrstuvwxyz"),
    (0x1f1e6, "abcdefghijklmnopqrstuvwxyz"),
    (0x1fbf0, "0123456789"),
];

/// Letters of other scripts that look like a Latin one.
const LOOKALIKE: &[(u32, &str)] = &[
    (0x37f, "j"),
    (0x391, "abyde_n_ikluveonp_otuox_w"),
    (0x3b1, "abyde_n_ikluveonp_otuox_w"),
    (0x3f2, "cj_____c"),
    (0x401, "e__esiij"),
    (0x410, "abbr_e_euuklmhonpcty_xuyw___be_rabbr_e_euuklmhonpcty_xuyw___be_r_e__esiij"),
    (0x474, "vv"),
    (0x4ae, "yy"),
    (0x4ba, "hh____l"),
    (0x4cf, "l"),
    (0x500, "dd"),
    (0x51a, "qqww"),
    (0x536, "q"),
    (0x540, "h"),
    (0x548, "n____u__pg___o"),
    (0x566, "q"),
    (0x570, "h"),
    (0x578, "n____u__pg___o"),
    (0x10e7, "y"),
    (0x13a0, "d_t"),
    (0x13aa, "aje"),
    (0x13b3, "w___m___h"),
    (0x13c3, "z"),
    (0x13d2, "r"),
    (0x13d9, "vs___lc__p___k"),
    (0x13f4, "b"),
    (0x1ca7, "y"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_are_seen_as_they_look() {
        let cases = [
            ("ｋＫ𝐤𝕂ⓚķĸꝁ", "kkkkkk.."),
            ("éèÅøłß", "eeaol."),
            ("кΚοа", "~~~~"),
            ("жあ中", "..."),
            ("\u{200b}\u{ad}\u{301}\u{fe0f}\u{e0041}", "00000"),
            ("\u{a0}\u{3000}", "  "),
            ("“«’。", "\"\"'!"),
            ("１²", "12"),
        ];
        for (text, wanted) in cases {
            let seen: String = text
                .chars()
                .map(|c| match fold(c) {
                    Folded::Nothing => '0',
                    Folded::Space => ' ',
                    Folded::Latin(letter) => char::from(letter),
                    Folded::Lookalike(_) => '~',
                    Folded::Letter | Folded::Other => '.',
                    Folded::Quote => '"',
                    Folded::Apostrophe => '\'',
                    Folded::Stop => '!',
                })
                .collect();
            assert_eq!(seen, wanted, "{text}");
        }
    }
}
