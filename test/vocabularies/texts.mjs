// Texts in several languages from which vocabularies are learnt. All are in the public domain.

import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** Goethe, Faust (1808). */
export const german = `Habe nun, ach! Philosophie, Juristerei und Medizin, und leider auch Theologie durchaus studiert, mit heißem Bemühn. Da steh ich nun, ich armer Tor! Und bin so klug als wie zuvor; heiße Magister, heiße Doktor gar und ziehe schon an die zehen Jahr herauf, herab und quer und krumm meine Schüler an der Nase herum – und sehe, dass wir nichts wissen können! Das will mir schier das Herz verbrennen. Zwar bin ich gescheiter als all die Laffen, Doktoren, Magister, Schreiber und Pfaffen; mich plagen keine Skrupel noch Zweifel, fürchte mich weder vor Hölle noch Teufel – dafür ist mir auch alle Freud entrissen, bilde mir nicht ein, was Rechts zu wissen, bilde mir nicht ein, ich könnte was lehren, die Menschen zu bessern und zu bekehren. Auch hab ich weder Gut noch Geld, noch Ehr und Herrlichkeit der Welt; es möchte kein Hund so länger leben! Drum hab ich mich der Magie ergeben, ob mir durch Geistes Kraft und Mund nicht manch Geheimnis würde kund; dass ich nicht mehr mit saurem Schweiß zu sagen brauche, was ich nicht weiß; dass ich erkenne, was die Welt im Innersten zusammenhält, schau alle Wirkenskraft und Samen, und tu nicht mehr in Worten kramen.
O sähst du, voller Mondenschein, zum letzten Mal auf meine Pein, den ich so manche Mitternacht an diesem Pult herangewacht: dann über Büchern und Papier, trübsel'ger Freund, erschienst du mir! Ach! könnt ich doch auf Bergeshöhn in deinem lieben Lichte gehn, um Bergeshöhle mit Geistern schweben, auf Wiesen in deinem Dämmer weben, von allem Wissensqualm entladen, in deinem Tau gesund mich baden!
`;

/** Pushkin, Ruslan and Ludmila (1828), and Homer, the Odyssey. */
export const russianAndGreek = `У лукоморья дуб зелёный; златая цепь на дубе том: и днём и ночью кот учёный всё ходит по цепи кругом; идёт направо – песнь заводит, налево – сказку говорит. Там чудеса: там леший бродит, русалка на ветвях сидит; там на неведомых дорожках следы невиданных зверей; избушка там на курьих ножках стоит без окон, без дверей; там лес и дол видений полны; там о заре прихлынут волны на брег песчаный и пустой, и тридцать витязей прекрасных чредой из вод выходят ясных, и с ними дядька их морской; там королевич мимоходом пленяет грозного царя; там в облаках перед народом через леса, через моря колдун несёт богатыря; в темнице там царевна тужит, а бурый волк ей верно служит; там ступа с Бабою Ягой идёт, бредёт сама собой, там царь Кащей над златом чахнет; там русский дух… там Русью пахнет! И там я был, и мёд я пил; у моря видел дуб зелёный; под ним сидел, и кот учёный свои мне сказки говорил.
Ἄνδρα μοι ἔννεπε, Μοῦσα, πολύτροπον, ὃς μάλα πολλὰ πλάγχθη, ἐπεὶ Τροίης ἱερὸν πτολίεθρον ἔπερσε· πολλῶν δ’ ἀνθρώπων ἴδεν ἄστεα καὶ νόον ἔγνω, πολλὰ δ’ ὅ γ’ ἐν πόντῳ πάθεν ἄλγεα ὃν κατὰ θυμόν, ἀρνύμενος ἥν τε ψυχὴν καὶ νόστον ἑταίρων. ἀλλ’ οὐδ’ ὧς ἑτάρους ἐρρύσατο, ἱέμενός περ· αὐτῶν γὰρ σφετέρῃσιν ἀτασθαλίῃσιν ὄλοντο.
`;

/** Laozi; the Hymn to the Nile's country in Arabic numerals of several scripts; and signs. */
export const manyScripts = `道可道，非常道。名可名，非常名。無名天地之始；有名萬物之母。故常無欲，以觀其妙；常有欲，以觀其徼。此兩者，同出而異名，同謂之玄。玄之又玄，衆妙之門。
いろはにほへと ちりぬるを わかよたれそ つねならむ うゐのおくやま けふこえて あさきゆめみし ゑひもせす
सत्यमेव जयते नानृतं सत्येन पन्था विततो देवयानः। ٠١٢٣٤٥٦٧٨٩ ०१२३४५६७८९ בראשית ברא אלהים את השמים ואת הארץ
😀😃😄 👩‍🔬 🇩🇪🇫🇷 1️⃣ ½ ⅔ ① Ⅷ → ⇒ ∀x∈ℝ: x²≥0 €100 £20 — “quoted” ‘single’ …
`;

/** The library's own source. */
export function sourceCode() {
  const folder = fileURLToPath(new URL('../../lib/tokenizer/', import.meta.url));
  const names = readdirSync(folder).filter((name) => name !== 'gpt2-merges.ts');
  return names
    .sort()
    .map((name) => readFileSync(`${folder}${name}`, 'utf8'))
    .join('\n');
}
