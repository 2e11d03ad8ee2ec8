/* coffer.conf: mistakes are found and named, or every value is within its bounds. */
#include "core/conf.h"
#include "tests/fuzz/fuzz.h"

static void check_bounds(const struct conf *c)
{
	FUZZ_CHECK(c->n_repositories <= CONF_REPOSITORIES_MAX && c->n_media <= CONF_MEDIA_MAX);
	FUZZ_CHECK(c->checkpoint_seconds >= 10 && c->checkpoint_seconds <= 3600);
	FUZZ_CHECK(c->grace_hours >= 1 && c->grace_hours <= 8760 && c->drill_days <= 366);
	for (size_t i = 0; i < c->n_repositories; i++)
		FUZZ_CHECK(*c->repositories[i].name && *c->repositories[i].url);
	for (int t = 0; t < CONF_N_TIERS; t++) {
		const struct conf_tier *tier = &c->tiers[t];

		FUZZ_CHECK(!tier->set || (tier->at.hour < 24 && tier->at.minute < 60 &&
					  tier->weekday < 7 && tier->keep >= 1));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct conf c;
	static struct conf_mistakes m;
	char text[512];
	int r;

	c.n_media = 77;
	r = conf_check((const char *)data, size, &c, &m);
	if (r == 0) {
		FUZZ_CHECK(m.n_all == 0);
		check_bounds(&c);
		return 0;
	}
	FUZZ_CHECK(r == -EINVAL && m.n_all > 0 && m.n > 0 && m.n <= m.n_all && c.n_media == 77);
	for (size_t i = 0; i < m.n; i++) {
		FUZZ_CHECK(*m.list[i].why && (i == 0 || m.list[i - 1].line <= m.list[i].line));
		conf_mistake_text(&m.list[i], text, sizeof(text));
	}
	return 0;
}
