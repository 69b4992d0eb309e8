/**
 * Words that say nothing by themselves, which do not end a passage of LAMBADA: articles, pronouns, prepositions, conjunctions,
 * auxiliary verbs and adverbs of degree. The paper used a list that it did not publish.
 */
export const stopWords: ReadonlySet<string> = new Set(
  `a about above across after again against all almost along already also although always am among an and another any anyone
anything are around as at away back be became because become been before began behind being below beneath beside between
beyond both but by came can cannot could couldn't did didn't do does doesn't doing don't done down during each either else
enough even ever every everyone everything far few first for from further gave get give go going gone got had hadn't has hasn't
have haven't having he he'd he'll he's her here hers herself him himself his how however i i'd i'll i'm i've if in indeed inside
instead into is isn't it it's its itself just last least less like made make many may maybe me might mine more most much must my
myself near nearly neither never next no nobody none nor not nothing now of off often on once one only onto or other others our
ours ourselves out outside over own perhaps quite rather really said same say says shall she she'd she'll she's should shouldn't
since so some someone something soon still such than that that's the their theirs them themselves then there there's these they
they'd they'll they're they've this those though three through throughout till to together too toward towards two under until up
upon us very was wasn't we we'd we'll we're we've well went were weren't what whatever when where whether which while who whole
whom whose why will with within without won't would wouldn't yet you you'd you'll you're you've your yours yourself yourselves`.split(
    /\s+/,
  ),
);
