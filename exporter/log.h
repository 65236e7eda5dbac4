/* SPDX-License-Identifier: Apache-2.0 */
/* log.h - logfmt lines on stderr, one write(2) each */
#ifndef KVTAP_EXPORTER_LOG_H
#define KVTAP_EXPORTER_LOG_H

enum log_level { LOG_LEVEL_DEBUG, LOG_LEVEL_INFO, LOG_LEVEL_WARN, LOG_LEVEL_ERROR };

/* log_set_level - least level that is printed; call before other threads start */
void log_set_level(enum log_level level);
/* log_level_parse - "debug", "info", "warn", "error" to a level; -EINVAL for another text */
int log_level_parse(enum log_level *level, const char *text);

/**
 * log_line - ts=2026-01-31T12:00:00.000Z caller=drain.c:12 level=info msg="..." key=value ...
 * @msg: then pairs of const char *key, const char *value, ended by NULL; quoted where needed
 *
 * MT-safe. Values may hold any bytes: control and non-UTF-8 bytes are escaped.
 */
void log_line(enum log_level level, const char *caller, const char *msg, ...)
	__attribute__((sentinel));

#define LOG_STRING_(x) #x
#define LOG_STRING(x) LOG_STRING_(x)
#define LOG_CALLER __FILE_NAME__ ":" LOG_STRING(__LINE__)
#define log_debug(...) log_line(LOG_LEVEL_DEBUG, LOG_CALLER, __VA_ARGS__, NULL)
#define log_info(...) log_line(LOG_LEVEL_INFO, LOG_CALLER, __VA_ARGS__, NULL)
#define log_warn(...) log_line(LOG_LEVEL_WARN, LOG_CALLER, __VA_ARGS__, NULL)
#define log_error(...) log_line(LOG_LEVEL_ERROR, LOG_CALLER, __VA_ARGS__, NULL)

#endif
