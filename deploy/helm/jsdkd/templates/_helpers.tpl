{{- define "jsdkd.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 52 | trimSuffix "-" }}
{{- end }}

{{/* Short enough for "-admin" behind it. */}}
{{- define "jsdkd.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" }}
{{- else }}
{{- $name := default .Chart.Name .Values.nameOverride }}
{{- if contains $name .Release.Name }}
{{- .Release.Name | trunc 52 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 52 | trimSuffix "-" }}
{{- end }}
{{- end }}
{{- end }}

{{- define "jsdkd.selector" -}}
app.kubernetes.io/name: {{ include "jsdkd.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "jsdkd.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "jsdkd.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "jsdkd.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}
{{- end }}

{{- define "jsdkd.serviceAccount" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "jsdkd.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "jsdkd.configSecret" -}}
{{- .Values.existingSecret.name | default (include "jsdkd.fullname" .) }}
{{- end }}

{{/* Combinations that would lose tokens, or that cannot start, end here and not in the cluster. */}}
{{- define "jsdkd.check" -}}
{{- $hasRedis := or .Values.redis.url .Values.redis.existingSecret.name }}
{{- $cache := .Values.config.cache | default dict }}
{{- if and .Values.existingSecret.name .Values.config }}
{{- fail "set config or existingSecret.name, not both: jsdkd reads one file" }}
{{- end }}
{{- if not (or .Values.existingSecret.name .Values.config) }}
{{- fail "there are no settings: set config (at least config.apps), or existingSecret.name to a Secret with a jsdkd.json" }}
{{- end }}
{{- if and .Values.redis.url .Values.redis.existingSecret.name }}
{{- fail "set redis.url or redis.existingSecret.name, not both" }}
{{- end }}
{{- if and .Values.persistence.enabled $hasRedis }}
{{- fail "set persistence.enabled or redis, not both: jsdkd has one store" }}
{{- end }}
{{- if and .Values.persistence.enabled (gt (int .Values.replicas) 1) }}
{{- fail "a file belongs to one instance: with persistence.enabled, replicas must be 1; set redis for more" }}
{{- end }}
{{- if and (gt (int .Values.replicas) 1) (not $hasRedis) (not .Values.existingSecret.name) (not (or $cache.redis $cache.sql)) }}
{{- fail "more than one replica needs a shared store, or each renewal voids the token of the others: set redis.url, redis.existingSecret.name, config.cache.redis or config.cache.sql" }}
{{- end }}
{{- if and (not .Values.admin.enabled) .Values.serviceMonitor.enabled }}
{{- fail "serviceMonitor.enabled needs admin.enabled: the metrics are on the admin port" }}
{{- end }}
{{- end }}
