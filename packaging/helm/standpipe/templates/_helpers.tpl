{{/* What everything is called: the release, with the chart's name unless it has it already. */}}
{{- define "standpipe.name" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" (.Release.Name | trunc 42 | trimSuffix "-") .Chart.Name -}}
{{- end -}}
{{- end -}}

{{- define "standpipe.namespace" -}}
{{- .Values.namespace.name | default .Release.Namespace -}}
{{- end -}}

{{/* By which its pods are known; the second label is the PodMonitor's. */}}
{{- define "standpipe.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "standpipe.labels" -}}
{{ include "standpipe.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end -}}

{{- define "standpipe.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- .Values.serviceAccount.name | default (include "standpipe.name" .) -}}
{{- else -}}
{{- required "serviceAccount.name: which account, if none is created" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "standpipe.image" -}}
{{- if .Values.image.digest -}}
{{- .Values.image.repository }}@{{ .Values.image.digest -}}
{{- else -}}
{{- .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion -}}
{{- end -}}
{{- end -}}

{{- define "standpipe.config" -}}
{{- .Values.config | default (.Files.Get (printf "files/%s.toml" .Values.mode)) -}}
{{- end -}}

{{/* What the container is in both modes, but for its name: "standpipe" always, as the configuration leaves out the logs of
what is called so. */}}
{{- define "standpipe.container" -}}
image: {{ include "standpipe.image" . | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
args: [run, -c, /etc/standpipe/standpipe.toml]
env:
  {{- with .Values.region }}
  - { name: AWS_REGION, value: {{ . | quote }} }
  {{- end }}
  - { name: NODE_NAME, valueFrom: { fieldRef: { fieldPath: spec.nodeName } } }
  - { name: POD_NAMESPACE, valueFrom: { fieldRef: { fieldPath: metadata.namespace } } }
  {{- with .Values.env }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
ports:
  - { name: health, containerPort: {{ .Values.healthPort }} }
livenessProbe:
  httpGet: { path: /livez, port: health }
  periodSeconds: 10
  failureThreshold: 6
resources:
  {{- toYaml .Values.resources | nindent 2 }}
{{- end -}}

{{/* For another chart's pod, an entry of `initContainers`: a native sidecar. It mounts the volumes "logs", which the
application's container mounts too, and those of standpipe.sidecar.volumes. */}}
{{- define "standpipe.sidecar.container" -}}
- name: standpipe
  {{- include "standpipe.container" . | nindent 2 }}
  restartPolicy: Always
  # The application waits for this one: it must not depend on the service being reachable.
  startupProbe:
    httpGet: { path: /livez, port: health }
    periodSeconds: 1
    failureThreshold: 30
  securityContext:
    readOnlyRootFilesystem: true
    allowPrivilegeEscalation: false
    capabilities: { drop: [ALL] }
  volumeMounts:
    - { name: logs, mountPath: /logs, readOnly: true }
    - { name: standpipe-state, mountPath: /state }
    - { name: standpipe-config, mountPath: /etc/standpipe, readOnly: true }
{{- end -}}

{{/* For another chart's pod, entries of `volumes`. */}}
{{- define "standpipe.sidecar.volumes" -}}
- name: standpipe-state
  emptyDir: { sizeLimit: 512Mi }
- name: standpipe-config
  configMap: { name: {{ include "standpipe.name" . }} }
{{- end -}}
